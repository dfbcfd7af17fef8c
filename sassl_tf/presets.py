"""Presets: folders that hold a pretrained encoder and all that its user has to know.

A preset has `encoder.keras`; `config.json`, the config of the pretraining; `metrics.json`, its
results; and `README.md`, the model card. The workdir of a pretraining is one without a card. As in
KerasHub, a preset is named by its folder, by `hf://owner/name` (Hugging Face) or by
`kaggle://owner/model/keras/variation` (Kaggle Models).
"""

import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import keras

from sassl_tf.checked import write_json
from sassl_tf.errors import FileError, NetworkError, UserError
from sassl_tf.extras import import_extra
from sassl_tf.files import check_holds_no_folders, local_file, replacing, short_reason
from sassl_tf.paths import AnyPath, as_path
from sassl_tf.refusals import reason
from sassl_tf.typing import PathLike

ENCODER_FILE = "encoder.keras"
CONFIG_FILE = "config.json"
RESULTS_FILE = "metrics.json"
CARD_FILE = "README.md"
FILES = (ENCODER_FILE, CONFIG_FILE, RESULTS_FILE, CARD_FILE)
HUGGING_FACE, KAGGLE = "hf://", "kaggle://"


def load_encoder(source: PathLike) -> keras.Model:
    """Loads a pretrained encoder: float32 [B, H, W, 3] in [0, 1] to features [B, D].

    Args:
        source: a folder that holds an `encoder.keras`, such as a preset or the workdir of a
            pretraining, or a `.keras` file, also as a URL (`gs://...`); `hf://owner/name`, with
            `@revision` at its end if it is not the newest; or
            `kaggle://owner/model/keras/variation`, with `/version` likewise. What is downloaded
            from these two stays in the cache of `huggingface_hub` or `kagglehub`.

    Raises:
        ValueError: nothing is there, the pretraining is not finished, or the file holds no encoder.
        ConnectionError: the preset is not cached and cannot be downloaded.
        ImportError: the package that downloads it is not installed.
    """
    file = encoder_file(source)
    try:
        with local_file(file) as local:
            encoder = keras.saving.load_model(local, compile=False)
    except FileError:  # a bucket does not answer
        raise
    except Exception as error:  # whatever zipfile, h5py and Keras raise for damaged files
        if unknown := re.search(r"Could not locate (?:class|function) '([^']+)'", str(error)):
            raise UserError(
                f"{file} holds {unknown[1]}, which Keras does not know. Import the module that "
                "registers it first; commands take it as --import_module=MODULE."
            ) from None
        raise UserError(
            f"{file} could not be loaded as a Keras model ({reason(error)}). Expected a .keras "
            "file written by model.save; give another one, or write it again."
        ) from None
    _check_shapes(encoder, file)
    return encoder


def encoder_file(source: PathLike) -> AnyPath:
    """Finds the `.keras` file of an encoder, after a download if it is elsewhere.

    Args:
        source: as for `load_encoder`.

    Returns:
        A Path.

    Raises:
        ValueError: nothing is there, or the pretraining has not written one yet.
        ConnectionError, ImportError: as for `load_encoder`.
    """
    if str(source).startswith((HUGGING_FACE, KAGGLE)):
        return _file_in_preset(source, _fetched(str(source)))
    path = as_path(source)
    if path.is_file():
        if path.suffix != ".keras":
            raise UserError(
                f"The encoder is {path}; expected a .keras file, as model.save writes it, or a "
                "workdir. Files of other formats are not read."
            )
        return path
    if not path.exists():
        raise UserError(f"There is no encoder at {path}; give a .keras file or a workdir.")
    if (path / ENCODER_FILE).is_file():
        return path / ENCODER_FILE
    if (path / CONFIG_FILE).is_file():
        raise UserError(
            f"The workdir {path} holds no {ENCODER_FILE}: its pretraining has not written one "
            "yet. Let it finish (the same command continues it), then evaluate."
        )
    raise UserError(
        f"The folder {path} is no pretraining workdir: it has neither {ENCODER_FILE} nor "
        f"{CONFIG_FILE}. Give a .keras file, or the --workdir of a pretraining."
    )


def save_to_preset(
    encoder: keras.Model | PathLike,
    folder: PathLike,
    config: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    card: str = "",
) -> None:
    """Writes a preset; `evaluation.save_preset` makes one of a workdir.

    Args:
        encoder: Keras model of images [B, H, W, 3] in [0, 1] to features [B, D], or the path of one
            for `load_encoder`.
        folder: the folder to make; it must not exist yet.
        config: of the pretraining, of JSON's types; its "image_size" is the side of the images for
            which evaluations take the encoder.
        metrics: results, of JSON's types.
        card: the model card, Markdown.

    Raises:
        ValueError: the folder exists, or there is no such encoder.
    """
    check_holds_no_folders(folder)
    folder = pathlib.Path(folder).expanduser()
    if folder.exists():
        raise UserError(f"{folder} is there already; give the name of a new folder.")
    with replacing(folder) as beside:
        beside.mkdir()
        if isinstance(encoder, (str, os.PathLike)):
            load_encoder(encoder)  # a file that is no encoder is no preset
            with local_file(encoder_file(encoder)) as file:
                shutil.copyfile(file, beside / ENCODER_FILE)
        else:
            _check_shapes(encoder, pathlib.Path(encoder.name))
            encoder.save(beside / ENCODER_FILE)
        write_json(beside / CONFIG_FILE, config or {})
        write_json(beside / RESULTS_FILE, metrics or {})
        (beside / CARD_FILE).write_text(card, "utf-8")


def check_upload(uri: str) -> None:
    """Checks what can be checked of an upload before there is a preset.

    Raises:
        ValueError: `upload_preset` does not take the URI.
        ImportError: the package that uploads is not installed.
    """
    service, handle, _ = _service(uri, f"The upload to {uri}")
    if "@" in handle or len(handle.split("/")) > _PARTS[service]:
        raise UserError(
            f"The upload goes to {uri}; expected no revision or version: an upload makes a new one."
        )


def upload_preset(uri: str, folder: PathLike) -> None:
    """Uploads a preset, under the account that you are logged in with on this machine.

    Args:
        uri: `hf://owner/name`, made if it does not exist; or `kaggle://owner/model/keras/variation`,
            which gets a new version.
        folder: a preset.

    Raises:
        ValueError: the folder is no preset, or the URI is neither of these.
        ConnectionError: the upload failed.
        ImportError: the package that uploads it is not installed.
    """
    folder = pathlib.Path(folder).expanduser()
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder} is no preset: it lacks {', '.join(missing)}. Make one with "
            "sassl_tf.save_to_preset or python -m evaluation.save_preset."
        )
    check_upload(uri)
    service, handle, package = _service(uri, f"The upload to {uri}")
    if service == HUGGING_FACE:

        def upload() -> None:
            package.HfApi().create_repo(handle, exist_ok=True)
            package.HfApi().upload_folder(
                repo_id=handle, folder_path=str(folder), allow_patterns=[*FILES]
            )
    else:

        def upload() -> None:
            # It takes all that is in a folder, and evaluations may have written there.
            with tempfile.TemporaryDirectory(prefix="sassl_tf-") as copy:
                for name in FILES:
                    shutil.copyfile(folder / name, pathlib.Path(copy, name))
                package.model_upload(handle, copy)

    _connected(upload, f"The preset {folder} could not be uploaded to {uri}", _LOG_IN[service])


_LOG_IN = {
    HUGGING_FACE: "Log in by hf auth login, with a token that may write, and try again.",
    KAGGLE: "Log in by kagglehub.login() and try again.",
}


def _fetched(uri: str) -> pathlib.Path:
    """Returns the local folder of a preset, downloaded unless it is cached."""
    service, handle, package = _service(uri, f"The download of {uri}")
    if service == HUGGING_FACE:
        name, _, revision = handle.partition("@")

        def download() -> str:
            return package.snapshot_download(
                name, revision=revision or None, allow_patterns=[*FILES], library_name="sassl_tf"
            )
    else:

        def download() -> str:
            return package.model_download(handle)

    advice = "Look at the name and the network, or give the folder of a copy."
    return pathlib.Path(_connected(download, f"{uri} could not be fetched", advice))


def _connected(call: Callable[[], Any], failure: str, advice: str) -> Any:
    try:
        return call()
    except Exception as error:  # of httpx, requests, the two packages and the file system
        what = short_reason(error).rstrip(".")
        raise NetworkError(f"{failure} ({type(error).__name__}: {what}). {advice}") from error


_PACKAGES = {HUGGING_FACE: ("huggingface_hub", "huggingface"), KAGGLE: ("kagglehub", "kaggle")}
_PARTS = {HUGGING_FACE: 2, KAGGLE: 4}  # of a name; Kaggle's may have a version as a fifth


def _service(uri: str, purpose: str) -> tuple[str, str, ModuleType]:
    """Returns the service of a URI, its handle there, and the package that speaks with it."""
    service = next((s for s in _PACKAGES if uri.startswith(s)), "")
    handle = uri.removeprefix(service)
    parts = handle.partition("@")[0].split("/")
    most = _PARTS.get(service, 0) + (service == KAGGLE)
    if not service or not _PARTS[service] <= len(parts) <= most or not all(parts):
        raise UserError(
            f"The preset is named {uri!r}; expected a folder, hf://owner/name or "
            "kaggle://owner/model/keras/variation."
        )
    return service, handle, import_extra(*_PACKAGES[service], purpose)


def _file_in_preset(source: PathLike, folder: pathlib.Path) -> pathlib.Path:
    if not (folder / ENCODER_FILE).is_file():
        raise UserError(f"{source} holds no {ENCODER_FILE}: it is no preset of this package.")
    return folder / ENCODER_FILE


def _check_shapes(encoder: keras.Model, file: AnyPath) -> None:
    # A subclassed model has none, and one that is not built raises an AttributeError.
    inputs, outputs = (getattr(encoder, name, None) or [] for name in ("inputs", "outputs"))
    is_encoder = (
        [len(tensor.shape) for tensor in inputs] == [4]
        and inputs[0].shape[-1] == 3
        and [len(tensor.shape) for tensor in outputs] == [2]
    )
    if not is_encoder:
        raise UserError(
            f"{file} maps {_shapes(inputs)} to {_shapes(outputs)}; an encoder maps images "
            "[B, H, W, 3] to features [B, D]. Save the model without its head, and pooled."
        )


def _shapes(tensors: list[Any]) -> str:
    return ", ".join(str(list(tensor.shape)) for tensor in tensors) or "unknown shapes"
