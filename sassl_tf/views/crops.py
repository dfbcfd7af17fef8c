"""Crops: the laws of the box of a random resized crop, and cutting it out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from sassl_tf.typing import Array

_WHOLE_IMAGE = np.array([[[0, 0, 1, 1]]], np.float32)  # the object of which the crop must hold some
_CROP_ATTEMPTS = 10  # torchvision's
_FEW_PIXELS = 8  # of a crop, for each of the result


Box = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


def tensorflow_crop_box(
    shape: Array | tuple[int, ...],
    area: tuple[float, float],
    ratio: tuple[float, float],
    seed: Array,
) -> Box:
    """Draws the box of a random resized crop under SimCLR's law.

    This is TensorFlow's sample_distorted_bounding_box: ratio and height
    are uniform, so small crops are likelier than under torchvision's law; but, as there, none
    below a tenth of the image, whatever `area` says.

    Args:
        shape: the image's, [H, W, 3].
        area: (lowest, highest) share of the image that the crop covers.
        ratio: (lowest, highest) width of the crop divided by its height.
        seed: int32 [2].

    Returns:
        int32 scalars (top, left, height, width), in pixels. They are those of the whole image
        where no box that fits is found.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        _WHOLE_IMAGE,
        seed,
        min_object_covered=0.1,
        aspect_ratio_range=ratio,
        area_range=area,
        max_attempts=100,
        use_image_if_no_bounding_boxes=True,
    )
    return begin[0], begin[1], size[0], size[1]


def torchvision_crop_box(
    shape: Array | tuple[int, ...],
    area: tuple[float, float],
    ratio: tuple[float, float],
    seed: Array,
) -> Box:
    """Draws a box as `tensorflow_crop_box` does, under the law of MoCo and SimSiam.

    This is torchvision's RandomResizedCrop: the area is uniform and the ratio log-uniform. Where
    no box of ten fits, it is the largest in the image's centre whose ratio is in range.
    """
    image_height, image_width = tf.cast(shape[0], tf.float32), tf.cast(shape[1], tf.float32)
    draws = tf.random.stateless_uniform([2 * _CROP_ATTEMPTS + 2], seed)
    areas, ratios, place = tf.split(draws, [_CROP_ATTEMPTS, _CROP_ATTEMPTS, 2])
    areas = image_height * image_width * (area[0] + areas * (area[1] - area[0]))
    ratios = ratio[0] * tf.pow(ratio[1] / ratio[0], ratios)

    # After the ten attempts comes the box for when none of them fits; it always fits.
    nearest_ratio = tf.clip_by_value(image_width / image_height, *ratio)
    fallback_height = tf.minimum(image_height, image_width / nearest_ratio)
    heights = tf.concat([tf.sqrt(areas / ratios), fallback_height[None]], axis=0)
    widths = tf.concat([tf.sqrt(areas * ratios), fallback_height[None] * nearest_ratio], axis=0)
    heights, widths = tf.round(heights), tf.round(widths)
    fits = (heights >= 1) & (heights <= image_height) & (widths >= 1) & (widths <= image_width)
    chosen = tf.argmax(tf.cast(fits, tf.int32))
    height, width = heights[chosen], widths[chosen]

    margins = tf.stack([image_height - height, image_width - width])
    drawn = tf.floor(place * (margins + 1))
    top, left = tf.unstack(tf.where(chosen < _CROP_ATTEMPTS, drawn, tf.floor(margins / 2)))
    return tuple(tf.cast(side, tf.int32) for side in (top, left, height, width))


def byol_crop_box(
    shape: Array | tuple[int, ...],
    area: tuple[float, float],
    ratio: tuple[float, float],
    seed: Array,
) -> Box:
    """Draws a box as `tensorflow_crop_box` does, under the law of BYOL.

    The area is uniform and the ratio log-uniform, both drawn once; a side that is longer than the
    image's is cut to it. Source: google-deepmind/deepmind-research, byol/utils/dataset.py.
    """
    image_height, image_width = tf.cast(shape[0], tf.float32), tf.cast(shape[1], tf.float32)
    draws = tf.unstack(tf.random.stateless_uniform([4], seed))
    pixels = image_height * image_width * (area[0] + draws[0] * (area[1] - area[0]))
    drawn_ratio = ratio[0] * tf.pow(ratio[1] / ratio[0], draws[1])
    height = tf.clip_by_value(tf.round(tf.sqrt(pixels / drawn_ratio)), 1.0, image_height)
    width = tf.clip_by_value(tf.round(tf.sqrt(pixels * drawn_ratio)), 1.0, image_width)
    top = tf.floor(draws[2] * (image_height - height + 1))
    left = tf.floor(draws[3] * (image_width - width + 1))
    return tuple(tf.cast(side, tf.int32) for side in (top, left, height, width))


CROP_SAMPLERS = {
    "tensorflow": tensorflow_crop_box,
    "torchvision": torchvision_crop_box,
    "byol": byol_crop_box,
}


def crop_and_resize(image: Array, box: Array, size: int | tuple[int, int]) -> tf.Tensor:
    """Cuts a box out of one image and resizes it.

    Bicubic without antialiasing, as SimCLR's and BYOL's. The cubic overshoots at edges, so that
    values are clipped to the range.

    Args:
        image: uint8, or float in [0, 1], [H, W, 3].
        box: top, left, height and width, int32 [4], in pixels.
        size: of the result, in pixels: one side for a square, or (height, width).

    Returns:
        [size, size, 3], of the image's dtype where that is uint8, else float32.
    """
    top, left, height, width = tf.unstack(box, num=4)
    sides = (size, size) if isinstance(size, int) else size
    crop = tf.slice(image, [top, left, 0], [height, width, 3])
    if image.dtype == tf.uint8:
        # Bicubic interpolation of floats takes two thirds of the time of that of bytes. Of a crop
        # that is much larger than the result, it reads few pixels, and the cast would read all.
        few = height * width <= _FEW_PIXELS * sides[0] * sides[1]
        resized = tf.cond(
            few, lambda: _bicubic(tf.cast(crop, tf.float32), sides), lambda: _bicubic(crop, sides)
        )
        # The kernels of these three are the fastest: tf.saturate_cast clips by two.
        clipped = tf.raw_ops.ClipByValue(t=resized, clip_value_min=0.0, clip_value_max=255.0)
        return tf.cast(tf.round(clipped), tf.uint8)
    return tf.clip_by_value(_bicubic(crop, sides), 0.0, 1.0)


def _bicubic(image: tf.Tensor, sides: tuple[int, int]) -> tf.Tensor:
    return tf.image.resize(image, sides, tf.image.ResizeMethod.BICUBIC)
