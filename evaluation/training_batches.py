"""Batches of labelled images, cropped and flipped, for the evaluations that train on images."""

from typing import Any

import tensorflow as tf

from sassl_tf.datasets import ImageDataset
from sassl_tf.datasets.dataset import READS_IN_FLIGHT
from sassl_tf.views import View, crop_view, draw_view, finish_views
from training.input.order import shuffled_index

# A random resized crop and a flip, nothing else.
VIEW: dict[str, Any] = {
    "jitter_probability": 0.0,
    "grayscale_probability": 0.0,
    "blur_probability": 0.0,
}


def training_batches(
    dataset: ImageDataset,
    image_size: int,
    batch_size: int,
    seed: int,
    crop_sampler: str = "tensorflow",
) -> tf.data.Dataset:
    """Returns an endless `tf.data.Dataset` of cropped and flipped images with their labels.

    Every image comes once an epoch, and each epoch has another order. A batch may hold the end of
    one epoch and the beginning of the next. Consume the batches within
    `sassl_tf.datasets.dataset.naming_damaged(dataset)`, so that an error names damaged images.

    Args:
        dataset: a labelled `ImageDataset`.
        image_size: the side of the crops.
        batch_size: B, the number of images in a batch.
        seed: an int, the seed of the order and the crops.
        crop_sampler: the law of the crops, one of `sassl_tf.views.crops.CROP_SAMPLERS`.

    Returns:
        A dataset of (float32 [B, image_size, image_size, 3] in [0, 1], labels int64 [B]).
    """
    count, view = len(dataset), View(**VIEW, crop_sampler=crop_sampler)

    @tf.autograph.experimental.do_not_convert
    def fetch(position):
        _, index = shuffled_index(position, count, count, seed)
        return position, dataset.label(index), dataset.fetch(index)

    @tf.autograph.experimental.do_not_convert
    def load(position, label, fetched):
        image = dataset.decode(fetched)
        own_seed = tf.random.fold_in(tf.constant([seed, 1]), position)
        draws = draw_view(view, tf.shape(image), own_seed)
        return crop_view(image, draws, image_size), draws, label

    @tf.autograph.experimental.do_not_convert
    def finish(images, draws, labels):
        return finish_views(images, draws, view), labels

    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
    fetched = tf.data.Dataset.range(tf.int64.max).map(
        fetch, num_parallel_calls=READS_IN_FLIGHT, deterministic=True
    )
    return (
        fetched.map(load, **parallel)
        .batch(batch_size)
        .map(finish, **parallel)
        .prefetch(tf.data.AUTOTUNE)
    )
