"""Convolutions of pixels as convolutions of whole patches of them.

An image of patches has p × p neighbouring pixels side by side in its channels, row by row:
[B, H/p, W/p, p·p·C]. A convolution of the pixels is also a convolution of the patches, whose kernel
holds the same numbers in more places. It has more products but is faster where channels are few:
three or eight of them leave most of a matrix unit idle.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sassl_tf.stylizers.operations import ops
from sassl_tf.typing import Array


def placement(size: int, before: int, side: int, stride: int = 1) -> NDArray[np.float32]:
    """Returns where the taps of a convolution of pixels lie in a convolution of patches.

    Args:
        size: k, the side of the kernel over pixels.
        before: pixels of padding above and to the left.
        side: p of the patches that go in, in pixels; a multiple of the stride.
        stride: of the pixels. That of the patches is 1, and those that come out have p / stride
            pixels a side.

    Returns:
        float32 [n, n, p², (p / stride)², k²] of zeros and ones: n × n is the kernel over patches.
    """
    starts = stride * np.arange(side // stride) - before
    return _placed([starts + tap for tap in range(size)], side)


def upsampled_placement(side: int) -> NDArray[np.float32]:
    """Returns the `placement` of nearest-neighbour ×2 and then a 3×3 convolution with padding 1.

    Args:
        side: p of the patches that go in, in pixels. Those that come out have 2 p.

    Returns:
        float32 [3, 3, p², 4·p², 9].
    """
    return _placed([(np.arange(2 * side) - 1 + tap) // 2 for tap in range(3)], side)


def patch_kernel(kernel: Array, places: NDArray[np.float32]) -> tf.Tensor:
    """Returns the kernel over patches that does what a kernel over pixels does.

    Args:
        kernel: [k, k, C, filters], over pixels.
        places: its `placement`.

    Returns:
        [n, n, p²·C, pixels of a patch that comes out · filters].
    """
    *_, channels, filters = kernel.shape
    count, _, inside, outside, taps = places.shape
    kernel = ops.reshape(kernel, (taps, channels * filters))
    places = ops.cast(ops.reshape(places, (-1, taps)), kernel.dtype)
    dense = ops.matmul(places, kernel)
    dense = ops.reshape(dense, (count, count, inside, outside, channels, filters))
    dense = ops.transpose(dense, (0, 1, 2, 4, 3, 5))
    return ops.reshape(dense, (count, count, inside * channels, outside * filters))


def _placed(pixels: Sequence[NDArray[np.integer]], side: int) -> NDArray[np.float32]:
    """Returns a placement, given which pixels the taps read.

    Args:
        pixels: an array for each tap of a row: for each pixel of a patch that comes out, the pixel
            that it reads. Rows and columns are alike, so that one list serves for both.
        side: p of the patches that go in, in pixels.
    """
    patch, within = np.divmod(np.stack(pixels), side)  # [k, pixels of the side that comes out]
    patch -= patch.min()
    (taps, out), count = patch.shape, patch.max() + 1
    axis = np.zeros((count, side, out, taps), np.float32)
    for tap, pixel in np.ndindex(taps, out):
        axis[patch[tap, pixel], within[tap, pixel], pixel, tap] = 1
    both = np.einsum("apxs,bqyt->abpqxyst", axis, axis)
    return both.reshape(count, count, side**2, out**2, taps**2)
