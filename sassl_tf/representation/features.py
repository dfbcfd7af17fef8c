"""Frozen features: every image of a dataset through an encoder, once."""

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm.auto import tqdm

from sassl_tf.checked import cached, new_array, read_array
from sassl_tf.datasets.dataset import (
    READS_IN_FLIGHT,
    ImageDataset,
    fingerprint_of,
    naming_damaged,
)
from sassl_tf.errors import UserError
from sassl_tf.paths import as_path
from sassl_tf.typing import PathLike

PREPARATION = 3  # part of the cache's key: raise it where the output of `prepare_image` changes
CROP_PROPORTION = 224 / 256


def prepare_image(
    image: tf.Tensor, image_size: int, crop_proportion: float = CROP_PROPORTION
) -> tf.Tensor:
    """Resizes the shorter side (bicubic, antialiased) and crops the centre.

    Images that are already `image_size` wide and high (CIFAR, shapes) are taken whole.

    Args:
        image: uint8 [H, W, 3] in [0, 255].
        image_size: int, the side of the result.
        crop_proportion: share of the resized shorter side that is kept, in (0, 1]; SimCLR's name
            for it. 224/256 is usual for ImageNet, 1 for transfer (SimCLR's appendix B.8,
            ssl-transfer).

    Returns:
        float32 [image_size, image_size, 3] in [0, 1].
    """
    pixels = tf.cond(
        taken_whole(image, image_size),
        lambda: tf.cast(image, tf.float32) / 255.0,
        lambda: resize_and_crop(image, image_size, crop_proportion),
    )
    return tf.ensure_shape(pixels, [image_size, image_size, 3])


def taken_whole(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Returns whether `prepare_image` takes an image [H, W, 3] whole, as bool []."""
    return tf.reduce_all(tf.shape(image)[:2] == image_size)


def resize_and_crop(
    image: tf.Tensor, image_size: int, crop_proportion: float = CROP_PROPORTION
) -> tf.Tensor:
    """Does `prepare_image` without its exception for images of the right size."""
    shorter = round(image_size / crop_proportion)
    pixels = tf.cast(image, tf.float32)
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    resized_shape = tf.round(shorter / tf.reduce_min(shape) * shape)
    corner = tf.floor((resized_shape - image_size) / 2)
    # tf.image.resize calls this too. Computing only the crop takes half the time at 224 px.
    crop = tf.raw_ops.ScaleAndTranslate(
        images=pixels[None],
        size=[image_size, image_size],
        scale=resized_shape / shape,
        translation=-corner,
        kernel_type="keyscubic",
        antialias=True,
    )
    return tf.clip_by_value(crop[0], 0.0, 255.0) / 255.0  # bicubic overshoots at edges


def extract_features(
    encoder: keras.Model,
    dataset: ImageDataset,
    image_size: int,
    batch_size: int = 128,
    cache_dir: PathLike | None = None,
    progress: bool = True,
    crop_proportion: float = CROP_PROPORTION,
) -> NDArray[np.float32]:
    """Computes the features of all images, in the dataset's order, in inference mode.

    Args:
        encoder: Keras model, float32 [B, H, W, 3] in [0, 1] to [B, D].
        dataset: an `ImageDataset` of N images.
        image_size: int, the side of the images that the encoder sees; see `prepare_image`.
        batch_size: int, the number of images that the encoder sees at a time.
        cache_dir: a folder that keeps the features, so that the next call with the same encoder
            weights, dataset and image size reads them; None keeps nothing. Damaged features are
            computed again, with a warning.
        progress: True shows a progress bar on stderr.
        crop_proportion: as for `prepare_image`.

    Returns:
        float32 [N, D]; a read-only memory map with `cache_dir`.

    Raises:
        ValueError: an image size that the encoder does not take, a batch size below 1, a dataset
            without images, a proportion outside (0, 1], features that are NaN or infinite, or
            images that were damaged meanwhile.
    """
    _check(encoder, dataset, image_size, batch_size, crop_proportion)
    batches = _batches(dataset, image_size, batch_size, crop_proportion)
    shape = len(dataset), encoder.outputs[0].shape[-1]
    if cache_dir is None:
        features = np.empty(shape, np.float32)
        _extract(encoder, dataset, batches, progress, features)
        return features
    preparation = image_size, crop_proportion, PREPARATION
    key = fingerprint_of(
        encoder_fingerprint(encoder), dataset.fingerprint, dataset.split, *preparation
    )
    file = as_path(cache_dir) / f"{key}.npy"
    stored = cached(read_array, file)
    if stored is not None:
        return stored
    # On disk from the start: features of a large dataset may not fit in memory.
    with new_array(file, shape) as features:
        _extract(encoder, dataset, batches, progress, features)
    return read_array(file)


def encoder_fingerprint(encoder: keras.Model) -> str:
    """Returns a short hexadecimal hash of an encoder's architecture and weights."""
    weights = (part for w in encoder.get_weights() for part in (w.dtype, w.shape, w.tobytes()))
    return fingerprint_of(encoder.to_json(), *weights)


def _extract(
    encoder: keras.Model,
    dataset: ImageDataset,
    batches: tf.data.Dataset,
    progress: bool,
    features: NDArray[np.float32],
) -> None:
    """Fills `features`, an array [N, D]."""
    encode = _encode_function(encoder, batches.element_spec)
    done = 0
    description = f"Features ({dataset.split})"
    disable = None if progress else True
    bar = tqdm(total=len(dataset), desc=description, unit="img", disable=disable)
    with bar, naming_damaged(dataset):
        for images in batches:
            batch = encode(images).numpy()
            _check_finite(batch, dataset, done)
            features[done : done + len(batch)] = batch
            done += len(batch)
            bar.update(len(batch))


@functools.lru_cache(maxsize=1)  # both splits, and all evaluations of a training, share a trace
def _encode_function(encoder: keras.Model, spec: tf.TensorSpec) -> Callable[[tf.Tensor], tf.Tensor]:
    # One trace for all batches, the smaller last one included.
    @tf.function(input_signature=[spec], autograph=False)
    def encode(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(encoder(images, training=False), tf.float32)

    return encode


def _batches(
    dataset: ImageDataset, image_size: int, batch_size: int, crop_proportion: float
) -> tf.data.Dataset:
    return (
        tf.data.Dataset.range(len(dataset))
        .map(dataset.fetch, num_parallel_calls=READS_IN_FLIGHT)
        .map(
            lambda fetched: prepare_image(dataset.decode(fetched), image_size, crop_proportion),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


def _check(
    encoder: keras.Model,
    dataset: ImageDataset,
    image_size: int,
    batch_size: int,
    crop_proportion: float,
) -> None:
    _, height, width, _ = encoder.inputs[0].shape
    if image_size < 1 or {height, width} - {None, image_size}:
        raise UserError(
            f"The image size is {image_size}, and the encoder takes images of "
            f"{height or 'any'} x {width or 'any'} pixels; give a size that it takes."
        )
    if batch_size < 1:
        raise UserError(f"The batch size is {batch_size}; give 1 or more.")
    if not 0 < crop_proportion <= 1:
        raise UserError(
            f"The crop proportion is {crop_proportion}; give a share of the shorter side, such as "
            "0.875, up to 1."
        )
    if not len(dataset):
        raise UserError(f"The {dataset.split} split of {dataset.name} has no images; add some.")


def _check_finite(batch: NDArray[np.float32], dataset: ImageDataset, first: int) -> None:
    bad = np.flatnonzero(~np.isfinite(batch).all(axis=1))
    if bad.size:
        raise UserError(
            f"The features of image {first + bad[0]} of {dataset.name} ({dataset.split}) are NaN "
            "or infinite: the encoder's weights are damaged, or its training diverged. Evaluate "
            "an earlier checkpoint, or pretrain with a lower learning rate."
        )
