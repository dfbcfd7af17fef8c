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
from sassl_tf.views.colour import JITTER_LAWS, luma, solarize

# The draws of the operations, in their order, and of the factors of the jitter and the blur.
_OPERATIONS = ("flip", "jitter", "grayscale", "blur", "solarize")
_FACTORS = ("brightness", "contrast", "saturation", "hue", "sigma")


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
    draws = {name: draws[name] for name in (*_OPERATIONS, *_FACTORS, "order")}
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
    steps, count = _steps(draws)
    factors = tf.stack([draws[name] for name in _FACTORS], axis=1)
    shape = images.shape[1:]
    if images.dtype == tf.uint8:  # XLA transposes bytes faster than floats
        images = tf.transpose(images, [0, 3, 1, 2])

    def one(args: tuple[tf.Tensor, ...]) -> tf.Tensor:
        image, steps, count, factors = args
        planes = image if image.dtype == tf.uint8 else tf.transpose(image, [2, 0, 1])
        planes = tf.image.convert_image_dtype(planes, tf.float32)
        *jitter_factors, sigma = tf.unstack(factors, num=len(_FACTORS))
        jitter = [*zip(JITTER_LAWS[law], jitter_factors, strict=True)]

        def operate(place: tf.Tensor, planes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            operations = [  # by the numbers of `_steps`
                *(lambda do=do, factor=factor: do(planes, factor) for do, factor in jitter),
                lambda: tf.reshape(
                    tf.reverse(tf.reshape(planes, [1, 3, *shape[:2]]), [3]), planes.shape
                ),
                lambda: tf.tile(luma(planes), [1, 3, 1]),
                lambda: blur_planes(planes, sigma, kernel_size, shape[:2]),
                lambda: solarize(planes),
            ]
            # Not steps[place], for which XLA would compile the program anew for every order.
            planes = tf.switch_case(tf.gather(steps, place), operations)
            return place + 1, tf.clip_by_value(planes, 0.0, 1.0)

        loop = (lambda place, _: place < count), operate, (0, tf.reshape(planes, [1, 3, -1]))
        planes = tf.while_loop(*loop, maximum_iterations=steps.shape[0])[1]
        return tf.reshape(tf.transpose(planes[0]), shape)

    return tf.map_fn(one, (images, steps, count, factors), fn_output_signature=tf.float32)


def _steps(draws: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the numbers of the operations on each image, int32 [B, 8], and how many of these
    count, int32 [B]. Those of the jitter are the first four."""
    flip, jitter, *others = (draws[name] for name in _OPERATIONS)
    applied = tf.stack([flip, *[jitter] * 4, *others], axis=1)
    numbers = tf.tile(tf.range(4, 8)[None], [tf.shape(applied)[0], 1])
    numbers = tf.concat([numbers[:, :1], draws["order"], numbers[:, 1:]], axis=1)
    applied_first = tf.argsort(tf.cast(~applied, tf.int32), axis=1, stable=True)
    steps = tf.gather(numbers, applied_first, batch_dims=1)
    return steps, tf.reduce_sum(tf.cast(applied, tf.int32), axis=1)
