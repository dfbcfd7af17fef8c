"""Applying the draws of a view: the crop on each image, the rest on batches.

    draws = draw_view(view, tf.shape(image), seed, augment)     # per image: a nest of scalars
    image = crop_view(image, draws, size)                       # per image: sizes differ
    ... dataset.batch() stacks images and draws alike ...
    views = finish_views(images, draws, view, augment)          # per batch: fast

One seed per image fixes its view, wherever and in whatever batch the image is processed.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from sassl_tf.typing import Array
from sassl_tf.views import device, host
from sassl_tf.views.crops import crop_and_resize
from sassl_tf.views.draws import BLUR_KERNEL_DIVISOR
from sassl_tf.views.recipes import View


def crop_view(image: Array, draws: dict[str, Any], size: int) -> tf.Tensor:
    """Cuts the drawn crop out of one image and resizes it.

    Args:
        image: uint8, or float in [0, 1], [H, W, 3].
        draws: those of `draw_view`.
        size: the side of the result, in pixels.

    Returns:
        [size, size, 3], uint8 for a uint8 image, else float32.
    """
    return crop_and_resize(image, draws["crop"], size)


def finish_views(
    images: Array,
    draws: dict[str, Any],
    view: View,
    augment: Any = None,
    static_shapes: bool = False,
) -> tf.Tensor:
    """Computes everything after the crop, on a batch.

    The order is the paper's (arXiv 2312.01187): crop, flip, SASSL, jitter, grayscale, blur,
    solarize; `view.sassl` "after_all" puts SASSL last.

    Args:
        images: crops [B, size, size, 3], uint8, or float in [0, 1].
        draws: those of `draw_view` with a leading B.
        view: the one that was drawn for.
        augment: the layer that stylizes, or None. It gets images in its `value_range`.
        static_shapes: every operation computes all images, and XLA may compile the whole, which
            suits accelerators; `augment` then has to have static shapes too. Else images go one by
            one, each only through what it drew, which suits processors. The results agree.

    Returns:
        float32 [B, size, size, 3] in [0, 1].
    """
    operations = device if static_shapes else host
    position = view.sassl if augment is not None else "none"
    if position == "before_jitter":
        images = operations.flip_and_rescale(images, draws["flip"])
        images = _stylized(images, draws["sassl"], augment)
        draws = {**draws, "flip": tf.zeros_like(draws["flip"])}  # they are flipped now
    if view.distorted:
        kernel_size = images.shape[1] // BLUR_KERNEL_DIVISOR
        images = operations.distort(images, draws, view.jitter_law, kernel_size)
    else:
        images = operations.flip_and_rescale(images, draws["flip"])
    if position == "after_all":
        images = _stylized(images, draws["sassl"], augment)
    return images


def finish_local_views(
    images: Array,
    draws: dict[str, Any],
    view: View,
    augment: Any = None,
    static_shapes: bool = False,
) -> tf.Tensor:
    """Computes `finish_views` on several small crops of each image.

    Args:
        images: crops [B, L, size, size, 3], uint8, or float in [0, 1].
        draws: those of `draw_view` with leading B and L.
        view, augment, static_shapes: as for `finish_views`.

    Returns:
        float32 [B, L, size, size, 3] in [0, 1].
    """
    crops, draws = tf.nest.map_structure(
        lambda x: tf.reshape(x, [-1, *x.shape[2:]]), (images, draws)
    )
    finished = finish_views(crops, draws, view, augment, static_shapes)
    return tf.reshape(finished, [-1, *images.shape[1:]])


def stacked(crops: list[Any]) -> Any:
    """Stacks nests of tensors, such as the (crop, draws) of several small crops of one image."""
    return tf.nest.map_structure(lambda *parts: tf.stack(parts), *crops)


def _stylized(images: tf.Tensor, draws: dict[str, tf.Tensor], augment: Any) -> tf.Tensor:
    """The layer's images, in [0, 1] before and after."""
    low, high = augment.value_range
    if (low, high) == (0, 1):
        return augment.transform_images(images, draws)
    stylized = augment.transform_images(images * (high - low) + low, draws)
    return tf.clip_by_value((stylized - low) / (high - low), 0.0, 1.0)
