"""Encoders on disk: a `.keras` file, the workdir of a pretraining that wrote one, or a preset."""

import keras

from sassl_tf.checked import read_json
from sassl_tf.errors import UserError
from sassl_tf.paths import AnyPath, as_path
from sassl_tf.presets import HUGGING_FACE, KAGGLE
from sassl_tf.presets import encoder_file as encoder_file
from sassl_tf.presets import load_encoder as load_encoder
from sassl_tf.typing import PathLike
from training.engine.workdir import CONFIG_FILE

DEFAULT_IMAGE_SIZE = 224


def workdir_of(path: PathLike) -> AnyPath | None:
    """Returns the pretraining workdir that `path` is, or lies in, as a Path; None if there is none.

    Args:
        path: as for `load_encoder`.
    """
    if str(path).startswith((HUGGING_FACE, KAGGLE)):
        return None
    path = as_path(path)
    if path.is_dir():
        return path
    return path.parent if (path.parent / CONFIG_FILE).is_file() else None


def default_image_size(path: PathLike, encoder: keras.Model) -> int:
    """Returns the side of the images that the encoder was made for.

    This is the side in the encoder's input shape if that is fixed, else `image_size` in the
    `config.json` beside the encoder's file, else 224.

    Args:
        path: where `encoder` was loaded from, as for `load_encoder`.
        encoder: a Keras model.

    Raises:
        ValueError: the `config.json` is damaged, or has no such number.
    """
    _, height, _, _ = encoder.inputs[0].shape
    return height or _configured_image_size(path) or DEFAULT_IMAGE_SIZE


def _configured_image_size(path):
    # A download is in a cache by now, and a file that is gone since the encoder was loaded has no
    # config either.
    is_preset = str(path).startswith((HUGGING_FACE, KAGGLE))
    file = encoder_file(path) if is_preset else as_path(path)
    config = (file if file.is_dir() else file.parent) / CONFIG_FILE
    if not config.is_file():
        return None
    content = read_json(config)
    size = content.get("image_size") if isinstance(content, dict) else content
    if size is not None and (not isinstance(size, int) or size < 1):
        raise UserError(
            f"{config} has the image_size {str(size)[:80]!r}; expected a whole number of pixels. "
            "Correct it, or give --image_size."
        )
    return size
