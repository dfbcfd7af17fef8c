"""Colour operations: jitter, grayscale and solarization.

They are pure functions: the parameters, drawn elsewhere, come in as [B] tensors, so one call serves
images that each have their own draw. Images are float32 [B, H, W, 3] in [0, 1], and so are the
results. No operation mixes images.

The operations mean what they mean in SimCLR's second implementation (google-research/simclr,
tf2/data_util.py, impl "simclrv2"), whose colour operations are those of tf.image.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from sassl_tf.typing import Array

Operation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # of colour planes and a factor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # the numbers that `color_jitter`'s order holds

_LUMA = (0.2989, 0.5870, 0.1140)  # the weights of tf.image.rgb_to_grayscale


def _select(condition: tf.Tensor, yes: tf.Tensor, no: tf.Tensor) -> tf.Tensor:
    """Does tf.where for operands of one shape; without its broadcasting, several times faster."""
    return tf.raw_ops.Select(condition=condition, x=yes, y=no)


def grayscale(images: Array) -> tf.Tensor:
    """Returns the luma of each pixel, in all three channels."""
    # One product with a 3×3 matrix is several times faster than a sum that is then repeated.
    return tf.tensordot(images, tf.tile(tf.constant(_LUMA)[:, None], [1, 3]), 1)


def solarize(images: Array, threshold: float = 0.5) -> tf.Tensor:
    """Inverts the values at or above the threshold."""
    return _select(images < threshold, images, 1.0 - images)


def color_jitter(
    images: Array,
    order: Array,
    brightness: Array,
    contrast: Array,
    saturation: Array,
    hue: Array,
    law: str = "simclr",
) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue, each once, in an order of each image's own.

    Values are clipped to [0, 1] after each operation.

    Args:
        images: float32 [B, H, W, 3] in [0, 1].
        order: int32 [B, 4]; row b lists, first to last, the operations on image b (BRIGHTNESS,
            CONTRAST, SATURATION, HUE).
        brightness: factors, float [B].
        contrast: factors, float [B].
        saturation: factors, float [B].
        hue: float [B], in turns of the colour wheel.
        law: "simclr" is that of tf.image, with brightness as a product; under "byol" brightness is
            a sum, of its factor - 1; under "torchvision", MoCo's and SimSiam's, contrast moves
            away from the mean luma, and saturation each pixel from its own.

    Returns:
        float32 [B, H, W, 3] in [0, 1].
    """
    # All are in closed forms on colour planes, [B, 3, H·W]: these vectorise, where tf.image's
    # saturation and hue go pixel by pixel through branches and take one factor for all images.
    # Each place in the order computes all four on all images, as an accelerator likes it.
    shape = tf.shape(images)
    planes = tf.reshape(images, [shape[0], shape[1] * shape[2], 3])
    planes = tf.transpose(planes, [0, 2, 1])
    factors = brightness, contrast, saturation, hue
    operations = [*zip(JITTER_LAWS[law], factors, strict=True)]
    for chosen in tf.unstack(order, num=4, axis=1):
        planes = tf.clip_by_value(_dispatch(planes, chosen, operations), 0.0, 1.0)
    images_out = tf.reshape(tf.transpose(planes, [0, 2, 1]), shape)
    return tf.ensure_shape(images_out, images.shape)


def _dispatch(
    planes: tf.Tensor, chosen: tf.Tensor, operations: list[tuple[Operation, Array]]
) -> tf.Tensor:
    """Gives image b to the function and the factor [B] of `operations[chosen[b]]`."""
    result = planes
    for number, (operation, factor) in enumerate(operations):
        theirs = (chosen == number)[:, None, None]
        result = tf.where(theirs, operation(planes, factor[:, None, None]), result)
    return result


def _brightness(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return planes * factor


def _added_brightness(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return planes + (factor - 1.0)


def _contrast(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    mean = tf.reduce_mean(planes, axis=2, keepdims=True)
    return (planes - mean) * factor + mean


def _contrast_of_luma(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    mean = tf.reduce_mean(luma(planes), axis=2, keepdims=True)
    return (planes - mean) * factor + mean


def _saturation(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    # With hue and value fixed, each channel's distance from the value (the largest channel) is in
    # proportion to the saturation, chroma / value, which must not exceed 1.
    value, chroma = _value_and_chroma(planes)
    scale = tf.minimum(factor, tf.math.divide_no_nan(value, chroma))
    return value + (planes - value) * scale


def _saturation_of_luma(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    grey = luma(planes)
    return (planes - grey) * factor + grey


def luma(planes: tf.Tensor) -> tf.Tensor:
    """Returns the luma [..., 1, H·W] of colour planes [..., 3, H·W]."""
    return tf.reduce_sum(planes * tf.constant(_LUMA)[:, None], axis=1, keepdims=True)


def _hue(planes: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    value, chroma = _value_and_chroma(planes)
    hue = _hue_of(planes, value, chroma) + 6.0 * turns
    hue -= 6.0 * tf.floor(hue / 6.0)
    # How far red, green and blue stand above the smallest channel, in chromas: trapezia around the
    # colour wheel, as in https://en.wikipedia.org/wiki/HSL_and_HSV ("HSV to RGB alternative").
    distance = tf.abs(hue - tf.constant([[3.0], [2.0], [4.0]]))
    height = tf.constant([[-1.0], [2.0], [2.0]]) + tf.constant([[1.0], [-1.0], [-1.0]]) * distance
    return value - chroma + chroma * tf.clip_by_value(height, 0.0, 1.0)


def _value_and_chroma(planes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    red, green, blue = tf.split(planes, 3, axis=1)
    value = tf.maximum(red, tf.maximum(green, blue))
    return value, value - tf.minimum(red, tf.minimum(green, blue))


def _hue_of(planes: tf.Tensor, value: tf.Tensor, chroma: tf.Tensor) -> tf.Tensor:
    """Returns the hue in sixths of a turn, from red, in [-1, 5]; 0 for greys."""
    red, green, blue = tf.split(planes, 3, axis=1)
    is_red, is_green = tf.equal(value, red), tf.equal(value, green)
    difference = _select(is_red, green - blue, _select(is_green, blue - red, red - green))
    zeros = tf.zeros_like(value)
    offset = _select(is_red, zeros, _select(is_green, zeros + 2.0, zeros + 4.0))
    return offset + tf.math.divide_no_nan(difference, chroma)


JITTER_LAWS: dict[str, tuple[Operation, ...]] = {
    "simclr": (_brightness, _contrast, _saturation, _hue),
    "byol": (_added_brightness, _contrast, _saturation, _hue),
    "torchvision": (_brightness, _contrast_of_luma, _saturation_of_luma, _hue),
}
