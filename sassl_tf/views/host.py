"""The operations of a view image by image in XLA programs, for processors.

XLA fuses them into a few passes over each image, which fits into the cache, where a batch does not;
and an image passes only through what was drawn for it. The module `sassl_tf.views.device` has the
same functions for accelerators; the results agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from sassl_tf.typing import Array
from sassl_tf.views.blur import blur_planes
from sassl_tf.views.colour import JITTER_LAWS, Operation, luma, solarize

_DRAWS = (
    *("jitter", "order", "brightness", "contrast", "saturation", "hue"),
    *("grayscale", "blur", "sigma", "solarize"),
)


def flip_and_rescale(images: Array, flips: Array) -> tf.Tensor:
    """Does what `sassl_tf.views.device.flip_and_rescale` does."""
    return _unless_empty(images, lambda: _flip_and_rescale(images, flips))


@tf.function(jit_compile=True, autograph=False)
def _flip_and_rescale(images: Array, flips: Array) -> tf.Tensor:
    def one(args: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, flipped = args
        image = tf.image.convert_image_dtype(image, tf.float32)
        return tf.cond(flipped, lambda: tf.reverse(image, [1]), lambda: image)

    return tf.map_fn(one, (images, flips), fn_output_signature=tf.float32)


def distort(images: Array, draws: dict[str, tf.Tensor], law: str, kernel_size: int) -> tf.Tensor:
    """Does what `sassl_tf.views.device.distort` does."""
    draws = {name: draws[name] for name in _DRAWS}
    return _unless_empty(images, lambda: _distort(images, draws, law, kernel_size))


def _unless_empty(images: Array, compute: Callable[[], tf.Tensor]) -> tf.Tensor:
    """Returns `compute()`, or no images where there are none, which XLA's loop does not allow."""
    if images.shape[0] is not None and images.shape[0] > 0:
        return compute()
    shape = tf.shape(images)
    made = tf.cond(shape[0] > 0, compute, lambda: tf.zeros(shape, tf.float32))
    return tf.ensure_shape(made, images.shape)


@tf.function(jit_compile=True, autograph=False)
def _distort(
    images: tf.Tensor, draws: dict[str, tf.Tensor], law: str, kernel_size: int
) -> tf.Tensor:
    def one(args: tuple[tf.Tensor, dict[str, tf.Tensor]]) -> tf.Tensor:
        image, draws = args
        sides = image.shape[:2]
        planes = tf.transpose(tf.reshape(image, [-1, 3]))[None]
        for name, operation in (
            ("jitter", lambda planes: _jittered(planes, draws, JITTER_LAWS[law])),
            ("grayscale", lambda planes: tf.tile(luma(planes), [1, 3, 1])),
            (
                "blur",
                lambda planes: blur_planes(planes, draws["sigma"], kernel_size, sides),
            ),
            ("solarize", solarize),
        ):
            planes = tf.cond(
                draws[name],
                lambda planes=planes, operation=operation: operation(planes),
                lambda planes=planes: planes,
            )
        return tf.reshape(tf.transpose(planes[0]), image.shape)

    return tf.map_fn(one, (images, draws), fn_output_signature=tf.float32)


def _jittered(
    planes: tf.Tensor, draws: dict[str, tf.Tensor], operations: tuple[Operation, ...]
) -> tf.Tensor:
    """Computes `color_jitter` of one image, given as its colour planes [1, 3, H·W]."""
    # A loop, because XLA compiles each of the turns of an unrolled one.
    factors = tf.stack([draws[name] for name in ("brightness", "contrast", "saturation", "hue")])

    def operate(place: tf.Tensor, planes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Not order[place], for which XLA would compile the program anew for every order.
        which = tf.gather(draws["order"], place)
        factor = tf.gather(factors, which)
        planes = tf.switch_case(which, [lambda do=do: do(planes, factor) for do in operations])
        return place + 1, tf.clip_by_value(planes, 0.0, 1.0)

    loop = (lambda place, _: place < 4), operate, (0, planes)
    return tf.while_loop(*loop, maximum_iterations=4)[1]
