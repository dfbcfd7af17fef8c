"""The input of pretraining: two views of every image, a pure function of (seed, position).

An epoch is as many whole batches as the data gives, in an order of its own; which images are left
over changes from epoch to epoch. Position p of the endless stream lies in epoch p // m, where m is
the number of images in an epoch's batches, and is image p % m of its order. So a run that starts at
step s begins the stream at s·B and sees what an uninterrupted run would have, and nothing about the
input has to be saved.
"""

from typing import Any

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from sassl_tf.datasets import ImageDataset
from sassl_tf.datasets.dataset import READS_IN_FLIGHT
from sassl_tf.errors import UserError
from sassl_tf.views import View, crop_view, draw_view, finish_views
from training.input.data_service import served
from training.input.placement import placement
from training.input.strength import ranges_at

SIDES = ("left", "right")
# Raise it whenever `index_in_epoch` gives another order: a run does not go on with another one.
ORDER = 2
# Of index_shuffle's cipher; its own four leave the order of one epoch visible in the next.
_ROUNDS = 16


def batches_per_epoch(dataset: ImageDataset, config: ConfigDict) -> int:
    """Returns the number of whole batches that the dataset gives.

    Raises:
        ValueError: not one.
    """
    if config.batch_size > len(dataset):
        raise UserError(
            f"batch_size is {config.batch_size}, but {dataset.name} has {len(dataset)} images. Set "
            "a smaller --config.batch_size."
        )
    return len(dataset) // config.batch_size


def total_steps(config: ConfigDict, steps_per_epoch: int) -> int:
    """Returns the number of steps of a whole training."""
    return max(1, round(config.epochs * steps_per_epoch))


def shuffled_index(
    position: tf.Tensor, count: int, epoch_length: int, seed: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """(epoch, index of the image) of a position; an epoch never holds an image twice."""
    epoch, place = position // epoch_length, position % epoch_length
    return epoch, index_in_epoch(place, epoch, count, seed)


def index_in_epoch(place: tf.Tensor, epoch: tf.Tensor, count: int, seed: int) -> tf.Tensor:
    """The indices of the images at places of an epoch, int64 scalar or [N], as `place` is.

    Of the places 0 ... count - 1 a permutation, independent of those of other epochs and seeds.
    """
    # The cipher wants keys that differ in many bits, and (seed, epoch) differ in few.
    pair = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
    key = tf.random.stateless_uniform([3], pair, None, None, tf.uint32, alg="philox")
    # A bijection of 0 ... max_index, computed for one index at a time.
    return tf.raw_ops.RandomIndexShuffle(
        index=place, seed=key, max_index=tf.constant(count - 1, tf.int64), rounds=_ROUNDS
    )


def distributed_batches(
    strategy: tf.distribute.Strategy,
    dataset: ImageDataset,
    config: ConfigDict,
    augment: keras.layers.Layer | None,
    start_step: int,
    data_service: str = "",
    reads: int = READS_IN_FLIGHT,
) -> tf.distribute.DistributedDataset:
    """`view_batches` for a strategy: every replica gets its share of the global batch, every
    host makes the views of its own replicas alone, or has them made by a data service."""

    def batches(context):
        own = view_batches(
            dataset,
            config,
            augment,
            start_step,
            share=(context.input_pipeline_id, context.num_input_pipelines),
            replica_batch_size=context.get_per_replica_batch_size(config.batch_size),
            reads=reads,
        )
        return served(own, data_service) if data_service else own

    return strategy.distribute_datasets_from_function(batches)


def view_batches(
    dataset: ImageDataset,
    config: ConfigDict,
    augment: keras.layers.Layer | None = None,
    start_step: int = 0,
    share: tuple[int, int] = (0, 1),
    replica_batch_size: int | None = None,
    reads: int = READS_IN_FLIGHT,
) -> tf.data.Dataset:
    """An endless dataset of batches of views.

    Args:
        dataset: an `ImageDataset`.
        config: a pretraining config: `seed`, `batch_size`, `image_size`, `views`; for factors that
            move, also `epochs` and the section of the style.
        augment: the layer that stylizes the views whose config asks for it, or None.
        start_step: the first batch is that of this step.
        share: (number, count) of the host: of each global batch, cut into `count` parts, it makes
            the part of this number.
        replica_batch_size: how many images a batch has; None: the host's part.
        reads: how many images (or windows, with `config.shuffle_window`) are read at a time.

    Returns:
        A `tf.data.Dataset` of dicts: "left" and "right", float32 [B, image_size, image_size, 3]
        in [0, 1], and "index" and "label", int64 [B]. Where `config.augment_on` is "device", "left"
        and "right" are what `finish_sides` makes these of there.

    Raises:
        ValueError: the batch is larger than the dataset.
    """
    number, hosts = share
    count, size, batch_size = len(dataset), config.image_size, config.batch_size
    part = batch_size // hosts
    steps_per_epoch = batches_per_epoch(dataset, config)
    epoch_length = steps_per_epoch * batch_size
    last_step = total_steps(config, steps_per_epoch)
    views = views_of(config)

    # Nothing here needs AutoGraph, which would take seconds to read all that is called.
    @tf.autograph.experimental.do_not_convert
    def fetch(place):
        # The host's images come one after the other; its part of a batch lies among the others'.
        position = place // part * batch_size + number * part + place % part
        _, index = shuffled_index(position, count, epoch_length, config.seed)
        return position, index, dataset.fetch(index)

    @tf.autograph.experimental.do_not_convert
    def load(position, index, fetched):
        image = dataset.decode(fetched)
        # Two folds, since a fold takes 32 bits and positions may need more.
        seed = tf.random.fold_in(tf.constant([config.seed, 0]), position // 2**31)
        seed = tf.random.fold_in(seed, position % 2**31)
        ranges = ranges_at(config, position // batch_size, last_step)
        element = {"index": index, "label": dataset.label(index)}
        for salt, side in enumerate(SIDES):
            view_seed = tf.random.fold_in(seed, salt)
            draws = draw_view(views[side], tf.shape(image), view_seed, augment, ranges)
            view = crop_view(image, draws, size)
            element[side] = {"image": view, "draws": draws}
        return element

    @tf.autograph.experimental.do_not_convert
    def finish(element):
        return finish_sides(element, config, augment)

    # The source is numbers of steps, so that a data service deals out whole batches.
    steps = tf.data.Dataset.range(start_step, tf.int64.max)
    places = steps.flat_map(lambda step: tf.data.Dataset.range(step * part, (step + 1) * part))
    # Reading waits and decoding computes, so each has a parallelism of its own.
    fetched = places.map(fetch, num_parallel_calls=reads, deterministic=True)
    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
    batches = fetched.map(load, **parallel).batch(replica_batch_size or part, drop_remainder=True)
    batches = placement(config).in_pipeline(batches, finish)
    return batches.prefetch(tf.data.AUTOTUNE)


def views_of(config: ConfigDict) -> dict[str, View]:
    """Returns the `View` of each side that a config describes."""
    return {side: View(**config.views[side]) for side in SIDES}


def finish_sides(
    batch: dict[str, Any], config: ConfigDict, augment: keras.layers.Layer | None = None
) -> dict[str, Any]:
    """Finishes both views of a batch of crops and draws; see `sassl_tf.views.finish_views`."""
    static_shapes = placement(config).static_shapes
    finished = {
        side: finish_views(batch[side]["image"], batch[side]["draws"], view, augment, static_shapes)
        for side, view in views_of(config).items()
    }
    return {**batch, **finished}
