"""The style extractor F of arbitrary-image-stylization v1-256: InceptionV3 as far as `Mixed_6e`.

Source: magenta, `arbitrary_image_stylization_build_model.py`, on slim's `inception_v3.py` as it
was then. Unlike the published InceptionV3 it has ReLU6, and takes images in [0, 1].
The layers carry the scope names of the checkpoint, with a dot for the slash; two of these are
slips of the original and stay: `Mixed_5c/Branch_1/Conv_1_0c_5x5`, and in `Mixed_6a` 3×3
convolutions that are called `Conv2d_1a_1x1`.
"""

import keras
import tensorflow as tf
from keras import ops

from sassl_tf.stylizers.transfer_network import STYLE_CODE_SIZE

MIN_SIDE = 43  # px; a smaller image vanishes on the way to Mixed_6e


def inception_style_network() -> keras.Model:
    """Builds F: float32 images [B, H, W, 3] in [0, 1] to codes [B, 100].

    H and W from 43. Every convolution has a bias, into which its batch normalisation (centre
    only) is folded.
    """
    images = keras.Input((None, None, 3), dtype="float32", name="images")
    x = _stem(images)
    x = _mixed_5(x, "Mixed_5b", pooled=32)
    x = _mixed_5(x, "Mixed_5c", pooled=64, first="Conv2d_0b_1x1", second="Conv_1_0c_5x5")
    x = _mixed_5(x, "Mixed_5d", pooled=64)
    x = _mixed_6a(x)
    for name, narrow in (
        ("Mixed_6b", 128),
        ("Mixed_6c", 160),
        ("Mixed_6d", 160),
        ("Mixed_6e", 192),
    ):
        x = _mixed_6(x, name, narrow)
    x = ops.mean(ops.cast(x, "float32"), axis=(1, 2))
    code = keras.layers.Dense(STYLE_CODE_SIZE, dtype="float32", name="Conv")(x)
    return keras.Model(images, code, name="inception_style_network")


def _convolution(
    x: tf.Tensor,
    name: str,
    filters: int,
    size: int | tuple[int, int] = 1,
    stride: int = 1,
    padding: str = "same",
) -> tf.Tensor:
    conv = keras.layers.Conv2D(
        filters,
        size,
        stride,
        padding=padding,
        data_format="channels_last",
        activation="relu6",
        name=f"InceptionV3.{name}",
    )
    return conv(x)


def _chain(x: tf.Tensor, scope: str, *steps: tuple[str, int, int | tuple[int, int]]) -> tf.Tensor:
    """Applies convolutions one after the other; each step is (name, filters, size)."""
    for name, filters, size in steps:
        x = _convolution(x, f"{scope}.{name}", filters, size)
    return x


def _halve(x: tf.Tensor) -> tf.Tensor:
    return ops.max_pool(x, 3, 2, padding="valid", data_format="channels_last")


def _smooth(x: tf.Tensor) -> tf.Tensor:
    # Padding does not count.
    return ops.average_pool(x, 3, 1, padding="same", data_format="channels_last")


def _stem(x: tf.Tensor) -> tf.Tensor:
    x = _convolution(x, "Conv2d_1a_3x3", 32, 3, 2, "valid")
    x = _convolution(x, "Conv2d_2a_3x3", 32, 3, 1, "valid")
    x = _halve(_convolution(x, "Conv2d_2b_3x3", 64, 3))
    x = _convolution(x, "Conv2d_3b_1x1", 80, 1, 1, "valid")
    return _halve(_convolution(x, "Conv2d_4a_3x3", 192, 3, 1, "valid"))


def _mixed_5(
    x: tf.Tensor,
    name: str,
    pooled: int,
    first: str = "Conv2d_0a_1x1",
    second: str = "Conv2d_0b_5x5",
) -> tf.Tensor:
    branches = [
        _chain(x, f"{name}.Branch_0", ("Conv2d_0a_1x1", 64, 1)),
        _chain(x, f"{name}.Branch_1", (first, 48, 1), (second, 64, 5)),
        _chain(
            x,
            f"{name}.Branch_2",
            ("Conv2d_0a_1x1", 64, 1),
            ("Conv2d_0b_3x3", 96, 3),
            ("Conv2d_0c_3x3", 96, 3),
        ),
        _chain(_smooth(x), f"{name}.Branch_3", ("Conv2d_0b_1x1", pooled, 1)),
    ]
    return ops.concatenate(branches, axis=-1)


def _mixed_6a(x: tf.Tensor) -> tf.Tensor:
    name = "Mixed_6a"
    h = _chain(x, f"{name}.Branch_1", ("Conv2d_0a_1x1", 64, 1), ("Conv2d_0b_3x3", 96, 3))
    branches = [
        _convolution(x, f"{name}.Branch_0.Conv2d_1a_1x1", 384, 3, 2, "valid"),
        _convolution(h, f"{name}.Branch_1.Conv2d_1a_1x1", 96, 3, 2, "valid"),
        _halve(x),
    ]
    return ops.concatenate(branches, axis=-1)


def _mixed_6(x: tf.Tensor, name: str, narrow: int) -> tf.Tensor:
    branches = [
        _chain(x, f"{name}.Branch_0", ("Conv2d_0a_1x1", 192, 1)),
        _chain(
            x,
            f"{name}.Branch_1",
            ("Conv2d_0a_1x1", narrow, 1),
            ("Conv2d_0b_1x7", narrow, (1, 7)),
            ("Conv2d_0c_7x1", 192, (7, 1)),
        ),
        _chain(
            x,
            f"{name}.Branch_2",
            ("Conv2d_0a_1x1", narrow, 1),
            ("Conv2d_0b_7x1", narrow, (7, 1)),
            ("Conv2d_0c_1x7", narrow, (1, 7)),
            ("Conv2d_0d_7x1", narrow, (7, 1)),
            ("Conv2d_0e_1x7", 192, (1, 7)),
        ),
        _chain(_smooth(x), f"{name}.Branch_3", ("Conv2d_0b_1x1", 192, 1)),
    ]
    return ops.concatenate(branches, axis=-1)
