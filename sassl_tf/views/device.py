"""The operations of a view on whole batches with static shapes, for accelerators.

Every operation computes all images, and a choice follows; XLA may compile the whole. The module
`sassl_tf.views.host` has the same functions for processors.
"""

from __future__ import annotations

import tensorflow as tf

from sassl_tf.typing import Array
from sassl_tf.views.blur import gaussian_blur
from sassl_tf.views.colour import color_jitter, grayscale, solarize


def flip(images: Array, apply: Array) -> tf.Tensor:
    """Mirrors left and right the images that bool [B] `apply` selects. Any dtype and range."""
    return choose(apply, tf.reverse(images, [2]), images)


def choose(apply: Array, changed: Array, images: Array) -> tf.Tensor:
    """Returns the changed image where bool [B] `apply` says so, and else the image as it was."""
    return tf.where(apply[:, None, None, None], changed, images)


def flip_and_rescale(images: Array, flips: Array) -> tf.Tensor:
    """Mirrors the images that bool [B] `flips` selects, and brings all into [0, 1].

    Args:
        images: uint8, or float in [0, 1], [B, H, W, 3].
        flips: bool [B].

    Returns:
        float32 [B, H, W, 3] in [0, 1].
    """
    return flip(tf.image.convert_image_dtype(images, tf.float32), flips)


def distort(images: Array, draws: dict[str, tf.Tensor], law: str, kernel_size: int) -> tf.Tensor:
    """Computes all operations of a view but the crop and SASSL.

    Args:
        images: uint8, or float in [0, 1], [B, H, W, 3].
        draws: those of `draw_view` with a leading B. "flip", "jitter", "grayscale", "blur" and
            "solarize" select the images that pass through each operation.
        law: of the jitter.
        kernel_size: of the blur, in pixels.

    Returns:
        float32 [B, H, W, 3] in [0, 1].
    """
    images = flip_and_rescale(images, draws["flip"])
    order, hue = draws["order"], draws["hue"]
    factors = draws["brightness"], draws["contrast"], draws["saturation"]
    images = choose(draws["jitter"], color_jitter(images, order, *factors, hue, law), images)
    images = choose(draws["grayscale"], grayscale(images), images)
    images = choose(draws["blur"], gaussian_blur(images, draws["sigma"], kernel_size), images)
    return choose(draws["solarize"], solarize(images), images)
