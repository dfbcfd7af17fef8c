"""The draws of a view: all of its randomness, as a dict of scalars of one image.

Each operation draws from a seed of its own, derived by name, so that switching an operation on or
off changes no other draw: runs with and without SASSL see the same crops and the same colours.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from sassl_tf.typing import Array, Range
from sassl_tf.views.crops import CROP_SAMPLERS
from sassl_tf.views.recipes import View

BLUR_KERNEL_DIVISOR = 10  # the kernel's side is a tenth of the image's [simclr: data_util.py]
_PLACES = ("first", "second", "third", "fourth")  # what the order of the jitter is drawn by


def draw_view(
    view: View,
    image_shape: Array | tuple[int, ...],
    seed: Array,
    augment: Any = None,
    ranges: Mapping[str, Range] | None = None,
) -> dict[str, Any]:
    """Draws the parameters of one view of one image.

    Args:
        view: the operations and their laws.
        image_shape: the shape of the whole image, [H, W, 3].
        seed: int32 [2]; the draws are a function of it.
        augment: the layer that stylizes, or None.
        ranges: {factor: (lowest, highest)} in place of the layer's own, such as "blending_factor";
            for a strength that changes over a training.

    Returns:
        A dict of scalars and two short vectors: "crop" int32 [4] (top, left, height, width),
        "order" int32 [4]; "flip", "jitter", "grayscale", "blur" and "solarize", bool;
        "brightness", "contrast", "saturation", "hue" and "sigma", float32. Where the view is
        stylized and `augment` is given, "sassl" is what `augment` draws for one image.
    """
    uniforms = [
        tf.random.stateless_uniform([count], named_seed(seed, operation))
        for operation, count in _counts(view).items()
    ]
    return {**draw_crop(view, image_shape, seed, augment, ranges), **_by_name(view, uniforms)}


def draw_crop(
    view: View,
    image_shape: Array | tuple[int, ...],
    seed: Array,
    augment: Any = None,
    ranges: Mapping[str, Range] | None = None,
) -> dict[str, Any]:
    """Draws the crop of one view of one image, and its style: of `draw_view`, what needs the image
    or the layer. `draw_operations` draws the rest."""
    box = CROP_SAMPLERS[view.crop_sampler]
    crop_seed = named_seed(seed, "crop")
    draws = {"crop": tf.stack(box(image_shape, view.crop_area, view.crop_ratio, crop_seed))}
    if view.stylized and augment is not None:
        sassl_seed = named_seed(seed, "sassl")
        draws["sassl"] = augment.get_random_transformation((), sassl_seed, **(ranges or {}))
    return draws


def draw_operations(view: View, seeds: tf.Tensor) -> dict[str, tf.Tensor]:
    """Draws what `draw_crop` leaves, for a batch of seeds at once, which takes a tenth of the time.

    Args:
        view: the operations and their laws.
        seeds: int32 [..., 2], of known shape.

    Returns:
        The same numbers as `draw_view` of each seed, with the leading axes of the seeds.
    """
    counts = _counts(view)
    salts = tuple(_salt(operation) for operation in counts)
    uniforms = _uniforms_of_many(tf.reshape(seeds, [-1, 2]), salts, max(counts.values()))
    uniforms = tf.reshape(uniforms, [*seeds.shape[:-1], *uniforms.shape[1:]])
    parts = [uniforms[..., k, :count] for k, count in enumerate(counts.values())]
    return _by_name(view, parts)


def image_seeds(seed: Array, count: int | tf.Tensor) -> tf.Tensor:
    """Returns a seed for each of `count` images, int32 [count, 2], from that of a batch."""
    return tf.random.stateless_uniform(
        (count, 2), seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )


def around_one(strength: float) -> tuple[float, float]:
    """Returns the range of the factor of a jitter of this strength."""
    return max(1.0 - strength, 0.0), 1.0 + strength


def named_seed(seed: Array, name: str) -> tf.Tensor:
    """Returns an int32 [2] seed that is independent of those of all other names."""
    return tf.random.experimental.stateless_fold_in(seed, _salt(name))


def _salt(name: str) -> int:
    return zlib.crc32(name.encode()) & 0x7FFFFFFF  # the same in every process, unlike hash()


def _ranges(view: View) -> dict[str, dict[str, Range]]:
    """Returns the range of each draw of each operation: {operation: {draw: (lowest, highest)}}."""
    unit = (0.0, 1.0)
    return {
        "flip": {"flip": unit},
        "jitter": {
            "jitter": unit,
            "brightness": around_one(view.brightness),
            "contrast": around_one(view.contrast),
            "saturation": around_one(view.saturation),
            "hue": (-view.hue, view.hue),
            **dict.fromkeys(_PLACES, unit),
        },
        "grayscale": {"grayscale": unit},
        "blur": {"blur": unit, "sigma": view.blur_sigma},
        "solarize": {"solarize": unit},
    }


def _counts(view: View) -> dict[str, int]:
    """Returns how many numbers each operation draws."""
    return {operation: len(draws) for operation, draws in _ranges(view).items()}


def _by_name(view: View, uniforms: list[tf.Tensor]) -> dict[str, tf.Tensor]:
    """Makes the draws of uniform numbers in [0, 1): those of each operation, [..., count]."""
    ranges = {name: own for draws in _ranges(view).values() for name, own in draws.items()}
    low, high = np.transpose(list(ranges.values()))
    values = low.astype(np.float32) + tf.concat(uniforms, -1) * (high - low).astype(np.float32)
    draws = dict(zip(ranges, tf.unstack(values, axis=-1), strict=True))
    draws["order"] = tf.argsort(tf.stack([draws.pop(place) for place in _PLACES], axis=-1))
    for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
        draws[name] = draws[name] < getattr(view, f"{name}_probability")
    return draws


@tf.function(jit_compile=True, autograph=False)
def _uniforms_of_many(seeds: tf.Tensor, salts: tuple[int, ...], count: int) -> tf.Tensor:
    """Draws tf.random's uniform numbers, of B seeds folded by K salts: float32 [B, K, count]."""

    def bits(shape: list[int], seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, seed, None, None, dtype, alg="philox")

    def uniforms(seed: tf.Tensor) -> tf.Tensor:
        # Bits become floats as on processors; XLA has a way of its own.
        mantissa = bits([count], seed, tf.uint32) & tf.constant(0x7FFFFF, tf.uint32)
        return tf.bitcast(mantissa | tf.constant(0x3F800000, tf.uint32), tf.float32) - 1.0

    folded = tf.map_fn(lambda seed: bits([], seed, tf.int32), seeds)
    named = [tf.repeat(folded, len(salts)), tf.tile(tf.constant(salts), tf.shape(folded))]
    drawn = tf.map_fn(uniforms, tf.stack(named, axis=1), fn_output_signature=tf.float32)
    return tf.reshape(drawn, [-1, len(salts), count])
