"""Style images, from arrays, datasets or folders, at the size for a stylizer's F."""

import os
from typing import Any

import numpy as np
import tensorflow as tf

from sassl_tf.datasets.dataset import READS_IN_FLIGHT, ImageDataset
from sassl_tf.datasets.folder import every_image
from sassl_tf.errors import UserError
from sassl_tf.typing import Array, PathLike

LONGEST = 4  # times the shorter side; what is beyond is cut off before an image is resized


def style_images(
    images: Array | tf.data.Dataset | ImageDataset | PathLike, size: int
) -> tf.data.Dataset:
    """Returns an unbatched dataset of float32 images [size, size, 3] in [0, 1].

    The shorter side is resized to `size` (bilinear, antialiased) and the centre cut out, so that
    textures keep their proportions.

    Args:
        images: as `StyleBank.from_images` takes them.
        size: in pixels.

    Raises:
        ValueError: they are not of that form.
    """
    if isinstance(images, (str, os.PathLike)):
        images = every_image(images)
    if isinstance(images, ImageDataset):
        fetched = tf.data.Dataset.range(len(images)).map(images.fetch, READS_IN_FLIGHT)
        dataset = fetched.map(images.decode, tf.data.AUTOTUNE)
    elif isinstance(images, tf.data.Dataset):
        if images.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise UserError("The dataset has no end; give as many as you want, dataset.take(1000).")
        dataset = images.map(_image_of_element)
        shape = dataset.element_spec.shape
        if shape.rank not in (3, 4) or shape[-1] not in (3, None):
            raise UserError(
                f"The dataset's images have shape {shape}; expected [H, W, 3] or [B, H, W, 3]."
            )
        dataset = dataset.unbatch() if shape.rank == 4 else dataset
        if isinstance(dataset.element_spec, tf.RaggedTensorSpec):
            dataset = dataset.map(_dense)
        dataset = dataset.map(lambda image: tf.ensure_shape(image, [None, None, 3]))
    else:
        images = _array(images)
        if images.ndim != 4 or images.shape[-1] != 3:
            raise UserError(f"images has shape {images.shape}; expected [N, H, W, 3].")
        dataset = tf.data.Dataset.from_tensor_slices(images)
    if not (dataset.element_spec.dtype.is_floating or dataset.element_spec.dtype == tf.uint8):
        raise UserError(
            f"The images are {dataset.element_spec.dtype.name}; expected uint8, or floats in "
            "[0, 1]."
        )
    return dataset.map(lambda image: _fit(image, size), tf.data.AUTOTUNE)


def _dense(image: tf.RaggedTensor | tf.Tensor) -> tf.Tensor:
    return image.to_tensor() if isinstance(image, tf.RaggedTensor) else image


def _array(images: Array) -> np.ndarray:
    try:
        return np.asarray(images)
    except ValueError as error:  # NumPy's "inhomogeneous shape"
        raise UserError(
            "The images have several sizes, and an array has one. Give a folder or a "
            "tf.data.Dataset of them, or resize them."
        ) from error


def _image_of_element(*components: Any) -> tf.Tensor:
    element = components[0]
    if isinstance(element, dict):
        name = next((name for name in ("images", "image") if name in element), None)
        if name is None:
            raise UserError(
                f'The dataset\'s elements have {sorted(element)}; expected "image" or "images".'
            )
        return element[name]
    return element


def _fit(image: tf.Tensor, size: int) -> tf.Tensor:
    if image.dtype == tf.uint8:
        image = tf.cast(image, tf.float32) / 255.0
    image = tf.cast(image, tf.float32)
    shorter = tf.minimum(tf.shape(image)[0], tf.shape(image)[1])
    # Of a line, the middle alone is enlarged: the whole would take gigabytes.
    height, width = (tf.minimum(tf.shape(image)[axis], LONGEST * shorter) for axis in (0, 1))
    image = tf.image.resize_with_crop_or_pad(image, height, width)
    image = tf.image.resize(
        image, (height * size // shorter, width * size // shorter), antialias=True
    )
    return tf.image.resize_with_crop_or_pad(image, size, size)
