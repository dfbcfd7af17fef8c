"""Resizing that keeps the proportions."""

import tensorflow as tf

from sassl_tf.typing import Array


def clamp_shorter_side(
    images: Array, lowest: int | None = None, highest: int | None = None
) -> tf.Tensor:
    """Resizes images so that their shorter side is in [lowest, highest]; the longer one follows.

    Args:
        images: float [B, H, W, 3].
        lowest, highest: in pixels; None sets no bound.

    Returns:
        float32 [B, h, w, 3], bilinear and antialiased. Where the sides are known and fit, it is
        the same tensor.
    """
    if lowest is None and highest is None:
        return images
    lowest, highest = lowest or 1, highest or 2**15
    height, width = images.shape[1:3]
    if height is not None and width is not None:
        shorter = min(height, width)
        target = min(max(shorter, lowest), highest)
        if target == shorter:
            return images
        sides = [max(1, round(side * target / shorter)) for side in (height, width)]
    else:
        sides = tf.cast(tf.shape(images)[1:3], tf.float32)
        shorter = tf.reduce_min(sides)
        target = tf.clip_by_value(shorter, lowest, highest)
        sides = tf.cast(tf.round(sides * (target / shorter)), tf.int32)
    return tf.image.resize(images, sides, antialias=True)
