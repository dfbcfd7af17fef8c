"""Sources of the weights of Magenta's v1-256: a Hub handle, a folder or a file."""

import pathlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import tensorflow as tf

from sassl_tf.errors import UserError
from sassl_tf.files import short_reason
from sassl_tf.stylizers import hub, kaggle, magenta
from sassl_tf.stylizers.saved_model import listed_variables
from sassl_tf.stylizers.stylizer import Stylizer
from sassl_tf.typing import PathLike

HANDLE = "https://tfhub.dev/google/magenta/arbitrary-image-stylization-v1-256/2"
KAGGLE_HANDLE = "google/arbitrary-image-stylization-v1/tensorFlow1/256/2"  # the same model
PROBE_TOLERANCE = 1e-3
_Content = TypeVar("_Content")
_EXPECTED = (
    "expected a SavedModel folder of arbitrary-image-stylization-v1-256, Magenta's unpacked "
    "checkpoint, or a .safetensors file of Stylizer.save"
)


def load_magenta_stylizer(weights: PathLike | None = None) -> Stylizer:
    """Loads the "magenta" stylizer.

    A SavedModel, fetched or local, is run once on a probe, to check that our networks compute what
    it computes. So give only one that you trust. The other forms hold numbers alone.

    Args:
        weights: a TF Hub or Kaggle handle (by default `KAGGLE_HANDLE` where kagglehub is
            installed, else `HANDLE`); a SavedModel folder; the folder or the prefix of Magenta's
            TF1 checkpoint (`arbitrary_style_transfer.tar.gz`, unpacked); or a `.safetensors` file
            of `Stylizer.save`.

    Raises:
        ValueError: what is there is something else, is damaged, or does not compute what its
            SavedModel computes.
        OSError: the handle could not be fetched; the message says what was tried.
    """
    weights = _default_handle() if weights is None else str(weights)
    if weights.endswith(".safetensors"):
        return magenta.from_safetensors(weights)
    if hub.is_handle(weights):
        return _from_saved_model(_fetch(weights), weights)
    path = pathlib.Path(weights).expanduser()
    if (path / "saved_model.pb").exists():
        return _from_saved_model(path, weights)
    if prefix := _checkpoint_prefix(path):
        return _from_checkpoint(prefix, weights)
    raise UserError(f"{weights} {_what_is(path)}; {_EXPECTED}.")


def _default_handle() -> str:
    by_kaggle = kaggle.is_installed() and not hub.is_cached(HANDLE)
    return KAGGLE_HANDLE if by_kaggle else HANDLE


def _fetch(handle: str) -> pathlib.Path:
    """Returns the local folder of a handle: from TF Hub's cache, by kagglehub, or by TF Hub."""
    by_kaggle = "://" not in handle and kaggle.is_installed() and not hub.is_cached(handle)
    return kaggle.fetch(handle, hub.REMEDY) if by_kaggle else hub.fetch(handle)


def _from_saved_model(folder: pathlib.Path, source: str) -> Stylizer:
    hub.check_complete(folder)
    arrays = _read(listed_variables, folder)
    if not arrays:
        raise UserError(
            f"The SavedModel in {folder} is not arbitrary-image-stylization-v1-256, which has a "
            "list of variables."
        )
    stylizer = magenta.build(arrays, f"The variables of the SavedModel in {folder}", source)
    _check_agreement(stylizer, folder)
    return stylizer


def _read(read: Callable[[pathlib.Path], _Content], folder: pathlib.Path) -> _Content:
    """Returns `read(folder)` of a SavedModel.

    Raises:
        ValueError: it is damaged; says what to do.
    """
    try:
        return read(folder)
    except Exception as error:  # its type depends on the damage
        raise UserError(
            f"The SavedModel in {folder} cannot be loaded ({short_reason(error)}): it is damaged "
            "or incomplete. If it lies in TF Hub's cache, delete it there and try again. "
            f"{hub.REMEDY}"
        ) from error


def _check_agreement(stylizer: Stylizer, folder: pathlib.Path) -> None:
    """Raises a ValueError unless both make the same picture of a probe. This runs the SavedModel.

    It comes last: only a model with all the right variables is run.
    """
    module = _read(lambda folder: tf.saved_model.load(str(folder)), folder)
    rng = np.random.default_rng(0)
    content, style = (rng.random((1, side, side, 3), np.float32) for side in (48, 64))
    try:
        theirs = module(tf.constant(content), tf.constant(style))[0].numpy()
    except Exception as error:
        raise UserError(
            f"The SavedModel in {folder} does not take a content and a style image: "
            f"{short_reason(error)}"
        ) from error
    ours = stylizer.stylize(content, stylizer.encode_style(style)).numpy()
    if theirs.shape != ours.shape:
        raise UserError(
            f"The SavedModel in {folder} makes an image of shape {theirs.shape} from one of "
            f"{content.shape}: it is not arbitrary-image-stylization-v1-256."
        )
    difference = np.abs(theirs - ours).max()
    if not difference <= PROBE_TOLERANCE:
        raise UserError(
            f"The SavedModel in {folder} and our networks with its variables differ by "
            f"{difference:.2g} on a probe, where {PROBE_TOLERANCE:g} is allowed: it computes "
            "something other than arbitrary-image-stylization-v1-256."
        )


def _checkpoint_prefix(path: pathlib.Path) -> pathlib.Path | None:
    """Returns the prefix of a TF1 checkpoint, given it, its .index file or its folder; or None."""
    if path.is_dir():
        indexes = sorted(path.glob("*.index"))
        if len(indexes) > 1:
            names = ", ".join(file.stem for file in indexes)
            raise UserError(f"{path} holds several checkpoints ({names}): name one of them.")
        return indexes[0].with_suffix("") if indexes else None
    if path.suffix == ".index":
        path = path.with_suffix("")
    return path if path.with_name(f"{path.name}.index").exists() else None


def _from_checkpoint(prefix: pathlib.Path, source: str) -> Stylizer:
    """Makes the stylizer from a checkpoint; ignores what else is in it, such as an optimizer."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = set(magenta.variable_names()) & reader.get_variable_to_shape_map().keys()
        arrays = {name: reader.get_tensor(name) for name in sorted(names)}
    except Exception as error:  # DataLossError, RuntimeError, ValueError, ...
        raise UserError(
            f"The checkpoint {prefix} cannot be read ({short_reason(error)}): it is truncated or "
            "damaged. Unpack arbitrary_style_transfer.tar.gz again; it must leave "
            f"{prefix.name}.index and {prefix.name}.data-00000-of-00001."
        ) from error
    return magenta.build(arrays, f"The variables of the checkpoint {prefix}", source)


def _what_is(path: pathlib.Path) -> str:
    """Describes a path that holds none of the known forms."""
    if not path.exists():
        return "does not exist"
    if path.is_dir():
        if any(path.glob("*.tflite")):
            return 'is a folder of TensorFlow Lite files (those are for "magenta-mobile")'
        return f"is a folder of {sorted(entry.name for entry in path.iterdir())[:5]}"
    with open(path, "rb") as file:
        start = file.read(8)
    if start[4:8] == b"TFL3":
        return 'is a TensorFlow Lite file (that is for "magenta-mobile")'
    if start[:2] == b"\x1f\x8b":
        return "is an archive: unpack it first"
    return "is a file of another kind"
