"""Resizing that keeps the proportions."""

import functools

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sassl_tf.typing import Array


def clamp_shorter_side(
    images: Array,
    lowest: int | None = None,
    highest: int | None = None,
    by_matrices: bool = False,
) -> tf.Tensor:
    """Resizes images so that their shorter side is in [lowest, highest]; the longer one follows.

    Args:
        images: float [B, H, W, 3].
        lowest, highest: in pixels; None sets no bound.
        by_matrices: True resizes by two products of matrices where the sides are known, as XLA has
            no operation for antialiased resizing.

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
        if by_matrices:
            rows, columns = map(resizing_matrix, (height, width), sides)
            return tf.einsum("hi,bijc,wj->bhwc", rows, tf.cast(images, tf.float32), columns)
    else:
        sides = tf.cast(tf.shape(images)[1:3], tf.float32)
        shorter = tf.reduce_min(sides)
        target = tf.clip_by_value(shorter, lowest, highest)
        sides = tf.cast(tf.round(sides * (target / shorter)), tf.int32)
    return tf.image.resize(images, sides, antialias=True)


@functools.lru_cache(maxsize=64)
def resizing_matrix(side: int, target: int) -> NDArray[np.float32]:
    """Returns the matrix [target, side] that resizes a row of pixels, bilinear and antialiased.

    A pixel is at the middle of its interval. Each new pixel is the mean of the old ones, weighted
    by a triangle around it whose half-width is the larger of an old and a new pixel
    (tensorflow/core/kernels/image/scale_and_translate_op.cc).
    """
    scale = side / target
    middles = (np.arange(target) + 0.5)[:, None] * scale
    distances = np.abs(np.arange(side) + 0.5 - middles) / max(scale, 1.0)
    weights = np.maximum(1.0 - distances, 0.0)
    return np.float32(weights / weights.sum(axis=1, keepdims=True))
