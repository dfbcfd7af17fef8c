"""Encoders on disk: a `.keras` file, or the workdir of a pretraining that wrote one."""

import pathlib

import keras

from sassl_tf.checked import read_json
from sassl_tf.errors import UserError
from sassl_tf.refusals import reason
from sassl_tf.typing import PathLike
from training.engine.workdir import CONFIG_FILE, ENCODER_FILE

DEFAULT_IMAGE_SIZE = 224


def load_encoder(path: PathLike) -> keras.Model:
    """Loads a Keras model: float32 [B, H, W, 3] in [0, 1] to features [B, D].

    Args:
        path: a `.keras` file, or a pretraining workdir with an `encoder.keras` in it.

    Raises:
        ValueError: nothing is there, the pretraining is not finished, or the file holds no encoder.
    """
    file = encoder_file(path)
    try:
        encoder = keras.saving.load_model(file, compile=False)
    except Exception as error:  # whatever zipfile, h5py and Keras raise for damaged files
        raise UserError(
            f"{file} could not be loaded as a Keras model ({reason(error)}). Expected a .keras "
            "file written by model.save; give another one, or write it again."
        ) from None
    _check_shapes(encoder, file)
    return encoder


def encoder_file(path: PathLike) -> pathlib.Path:
    """Finds the `.keras` file that `path` is, or that the workdir `path` holds.

    Args:
        path: as for `load_encoder`.

    Returns:
        A Path.

    Raises:
        ValueError: nothing is there, or the pretraining has not written one yet.
    """
    path = pathlib.Path(path).expanduser()
    if path.is_file():
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


def workdir_of(path: PathLike) -> pathlib.Path | None:
    """Returns the pretraining workdir that `path` is, or lies in, as a Path; None if there is none.

    Args:
        path: as for `load_encoder`.
    """
    path = pathlib.Path(path).expanduser()
    if path.is_dir():
        return path
    return path.parent if (path.parent / CONFIG_FILE).is_file() else None


def default_image_size(path: PathLike, encoder: keras.Model) -> int:
    """Returns the side of the images that the encoder was made for.

    This is the side in the encoder's input shape if that is fixed, else `image_size` in the
    workdir's `config.json`, else 224.

    Args:
        path: where `encoder` was loaded from.
        encoder: a Keras model.

    Raises:
        Damaged: a ValueError; the `config.json` is damaged.
    """
    _, height, _, _ = encoder.inputs[0].shape
    return height or _configured_image_size(workdir_of(path)) or DEFAULT_IMAGE_SIZE


def _check_shapes(encoder, file):
    inputs, outputs = encoder.inputs or [], encoder.outputs or []
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


def _shapes(tensors):
    return ", ".join(str(list(tensor.shape)) for tensor in tensors) or "unknown shapes"


def _configured_image_size(workdir):
    if workdir is None or not (workdir / CONFIG_FILE).is_file():
        return None
    return read_json(workdir / CONFIG_FILE).get("image_size")
