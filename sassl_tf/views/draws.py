"""The draws of a view: all of its randomness, as a dict of scalars of one image.

Each operation draws from a seed of its own, derived by name, so that switching an operation on or
off changes no other draw: runs with and without SASSL see the same crops and the same colours.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from sassl_tf.typing import Array, Range
from sassl_tf.views.crops import CROP_SAMPLERS
from sassl_tf.views.recipes import View

BLUR_KERNEL_DIVISOR = 10  # the kernel's side is a tenth of the image's [simclr: data_util.py]


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
    jitter_apply, *factors, first, second, third, fourth = _uniforms(seed, "jitter", 9)
    brightness, contrast, saturation, hue = factors
    blur_apply, blur_sigma = _uniforms(seed, "blur", 2)
    box = CROP_SAMPLERS[view.crop_sampler]
    draws = {
        "crop": tf.stack(
            box(image_shape, view.crop_area, view.crop_ratio, named_seed(seed, "crop"))
        ),
        "flip": _uniforms(seed, "flip", 1)[0] < view.flip_probability,
        "jitter": jitter_apply < view.jitter_probability,
        "order": tf.argsort(tf.stack([first, second, third, fourth])),
        "brightness": _between(brightness, *around_one(view.brightness)),
        "contrast": _between(contrast, *around_one(view.contrast)),
        "saturation": _between(saturation, *around_one(view.saturation)),
        "hue": _between(hue, -view.hue, view.hue),
        "grayscale": _uniforms(seed, "grayscale", 1)[0] < view.grayscale_probability,
        "blur": blur_apply < view.blur_probability,
        "sigma": _between(blur_sigma, *view.blur_sigma),
        "solarize": _uniforms(seed, "solarize", 1)[0] < view.solarize_probability,
    }
    if view.stylized and augment is not None:
        sassl_seed = named_seed(seed, "sassl")
        draws["sassl"] = augment.get_random_transformation((), sassl_seed, **(ranges or {}))
    return draws


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
    salt = zlib.crc32(name.encode()) & 0x7FFFFFFF  # the same in every process, unlike hash()
    return tf.random.experimental.stateless_fold_in(seed, salt)


def _uniforms(seed: Array, name: str, count: int) -> list[tf.Tensor]:
    """Draws `count` floats in [0, 1), all at once, because every small operation costs its call."""
    return tf.unstack(tf.random.stateless_uniform([count], named_seed(seed, name)))


def _between(uniform: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + uniform * (high - low)
