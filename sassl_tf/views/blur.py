"""Gaussian blur, each image with its own sigma: of a batch, and of one image."""

from __future__ import annotations

import tensorflow as tf

from sassl_tf.typing import Array

_REACH = 6.0  # in sigmas; a tap that lies beyond is less than 2e-8 of the middle one


def gaussian_blur(images: Array, sigma: Array, kernel_size: int | tf.Tensor) -> tf.Tensor:
    """Blurs each image with its own sigma; beyond the border lies black.

    Args:
        images: float32 [B, H, W, 3] in [0, 1].
        sigma: float [B], in pixels.
        kernel_size: in pixels; the kernel has 2·(kernel_size // 2) + 1 taps.

    Returns:
        float32 [B, H, W, 3] in [0, 1].
    """
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    taps = tf.repeat(_taps(sigma, kernel_size // 2), 3, axis=1)
    # Images become channels of one picture, for a depthwise convolution has a kernel per channel.
    stacked = tf.reshape(tf.transpose(images, [1, 2, 0, 3]), [1, height, width, batch * 3])
    for kernel in (taps[:, None, :, None], taps[None, :, :, None]):
        stacked = tf.nn.depthwise_conv2d(stacked, kernel, [1, 1, 1, 1], "SAME")
    blurred = tf.transpose(tf.reshape(stacked, [height, width, batch, 3]), [2, 0, 1, 3])
    # Rounding may take the sum of the taps just above 1.
    return tf.ensure_shape(tf.minimum(blurred, 1.0), images.shape)


def _taps(sigma: Array, radius: int | tf.Tensor) -> tf.Tensor:
    """Returns a normalised Gaussian for each sigma, float [2·radius + 1, B]."""
    offsets = tf.cast(tf.range(-radius, radius + 1), tf.float32)[:, None]
    taps = tf.exp(-tf.square(offsets) / (2.0 * tf.square(sigma)))
    return taps / tf.reduce_sum(taps, axis=0)


def blur_planes(
    planes: tf.Tensor, sigma: tf.Tensor, kernel_size: int, sides: tf.TensorShape
) -> tf.Tensor:
    """Computes `gaussian_blur` of one image, given as its colour planes [1, 3, H·W]
    and its sides (H, W)."""
    radius = kernel_size // 2
    taps = _taps(sigma[None], radius)[:, 0]
    image = tf.reshape(planes, [3, *sides])
    first = radius - tf.cast(tf.math.ceil(_REACH * sigma), tf.int32)
    for axis in (1, 2):
        image = _convolved(image, taps, radius, axis, first)
    return tf.reshape(tf.minimum(image, 1.0), planes.shape)


def _convolved(
    image: tf.Tensor, taps: tf.Tensor, radius: int, axis: int, first: tf.Tensor
) -> tf.Tensor:
    """Convolves along one axis with a symmetric kernel, by sums of shifted images.

    The taps before `first`, and those that mirror them, are too small to count.
    Two pairs of taps at a time are what XLA makes the fastest loop of; with more its sums are no
    longer vectorised.
    """
    padded = tf.pad(image, [[radius, radius] if here == axis else [0, 0] for here in range(3)])

    def pair(tap: int | tf.Tensor) -> tf.Tensor:
        places = tap, 2 * radius - tap
        begins = ([place if here == axis else 0 for here in range(3)] for place in places)
        before, after = (tf.slice(padded, begin, image.shape) for begin in begins)
        return tf.gather(taps, tap) * (before + after)

    def two_pairs(tap: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tap + 2, total + pair(tap) + pair(tap + 1)

    start = tf.maximum(first // 2 * 2, 0)
    loop = (lambda tap, _: tap < radius - 1), two_pairs, (start, taps[radius] * image)
    total = tf.while_loop(*loop, maximum_iterations=radius // 2)[1]
    return total + pair(radius - 1) if radius % 2 else total
