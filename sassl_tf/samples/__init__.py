"""A few photographs and style images, to try things on; `CREDITS.md` has their terms."""

from __future__ import annotations

import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent


def photographs(size: int = 224) -> np.ndarray:
    """Returns four photographs, uint8 [4, size, size, 3] in [0, 255]; stored at 256 px."""
    return _squares("photographs", size)


def styles(size: int = 256) -> np.ndarray:
    """Returns four paintings and two patterns, uint8 [6, size, size, 3] in [0, 255]."""
    return _squares("styles", size)


def _squares(folder: str, size: int) -> np.ndarray:
    import tensorflow as tf  # here, so that an import of the package costs nothing

    def read(path: pathlib.Path) -> np.ndarray:
        pixels = tf.io.decode_jpeg(tf.io.read_file(str(path)), channels=3)
        resized = tf.image.resize(pixels, (size, size), "area")
        return tf.saturate_cast(tf.round(resized), tf.uint8).numpy()

    return np.stack([read(path) for path in sorted((FOLDER / folder).glob("*.jpg"))])
