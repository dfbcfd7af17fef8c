"""The input of pretraining: views of every image, a pure function of (seed, position).

There are two views, "left" and "right", and, for multi-crop, `config.local_crops` small crops,
"local".

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
from sassl_tf.views import View, crop_view, finish_views
from sassl_tf.views.apply import finish_local_views, stacked
from sassl_tf.views.draws import draw_crop, draw_operations
from training.input.data_service import served
from training.input.placement import placement
from training.input.strength import ranges_at

SIDES = ("left", "right")
LOCAL = "local"
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


def shuffled_window(
    position: tf.Tensor, count: int, epoch_length: int, seed: int, window: int
) -> tf.Tensor:
    """Returns the indices int64 [window] of the images at a position and those that follow it.

    They are neighbours in the dataset, and the windows are shuffled. Where windows begin is drawn
    for each epoch, so that images at their borders meet others, and other images are left over; the
    last image has the first for its neighbour. An epoch never holds an image twice.

    Args:
        position: int64 [], a multiple of `window`.
        count: number of images.
        epoch_length: number of positions in an epoch, a multiple of `window`.
        seed: of the order.
        window: number of images in a window.
    """
    epoch, place = position // epoch_length, position % epoch_length
    number = index_in_epoch(place // window, epoch, count // window, seed)
    pair = tf.stack([tf.constant(seed, tf.int64), epoch])
    first = tf.random.stateless_uniform([], pair, 0, count, tf.int64, alg="philox")
    return (first + number * window + tf.range(window, dtype=tf.int64)) % count


def index_in_epoch(place: tf.Tensor, epoch: tf.Tensor, count: int, seed: int) -> tf.Tensor:
    """The indices of the images at places of an epoch, int64 scalar or [N], as `place` is.

    Of the places 0 ... count - 1 a permutation, independent of those of other epochs and seeds.
    """
    # The cipher wants keys that differ in many bits, and (seed, epoch) differ in few.
    pair = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
    # By Philox, as all draws on processors. Naming it would cost a dozen operations an image.
    key = tf.random.stateless_uniform([3], pair, None, None, tf.uint32)
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
            replica_batch_size=context.get_per_replica_batch_size(
                config.batch_size // config.accumulate
            ),
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
    """An endless dataset of batches of views; with `config.accumulate`, of the parts of them.

    Args:
        dataset: an `ImageDataset`.
        config: a pretraining config: `seed`, `batch_size`, `accumulate`, `image_size`, `views`,
            `local_crops` and `local_size`; for factors that move, also `epochs` and the section of
            the style.
        augment: the layer that stylizes the views whose config asks for it, or None.
        start_step: the first batch is that of this step.
        share: (number, count) of the host: of each global batch, cut into `count` parts, it makes
            the part of this number.
        replica_batch_size: how many images a replica gets at a time; None: the host's part.
        reads: how many images (or windows, with `config.shuffle_window`) are read at a time.

    Returns:
        A `tf.data.Dataset` of dicts: "left" and "right", float32 [B, image_size, image_size, 3]
        in [0, 1]; with small crops "local", [B, local_crops, local_size, local_size, 3]; and
        "index" and "label", int64 [B]. Where `config.augment_on` is "device", the views are what
        `finish_sides` makes these of there.

    Raises:
        ValueError: the batch is larger than the dataset.
    """
    number, hosts = share
    count, size, batch_size = len(dataset), config.image_size, config.batch_size
    # What is trained on at a time, and this host's share of it.
    chunk = batch_size // config.accumulate
    part = chunk // hosts
    steps_per_epoch = batches_per_epoch(dataset, config)
    epoch_length = steps_per_epoch * batch_size
    last_step = total_steps(config, steps_per_epoch)
    views, window = views_of(config), config.shuffle_window
    if part % window:
        raise UserError(
            f"shuffle_window is {window}, and each of {hosts} hosts makes {part} images of a "
            "batch; expected a divisor of that. Set another --config.shuffle_window."
        )

    # Nothing here needs AutoGraph, which would take seconds to read all that is called.
    @tf.autograph.experimental.do_not_convert
    def order(at):
        """Returns what is read for a chunk. The host's part of it lies among the others'."""
        positions = at * chunk + number * part + tf.range(0, part, window, dtype=tf.int64)
        if window > 1:
            return tf.data.Dataset.from_tensor_slices(positions)
        epoch, places = positions[0] // epoch_length, positions % epoch_length
        indices = index_in_epoch(places, epoch, count, config.seed)
        return tf.data.Dataset.from_tensor_slices((positions, indices))

    @tf.autograph.experimental.do_not_convert
    def fetch(position, index):
        return position, index, dataset.fetch(index)

    @tf.autograph.experimental.do_not_convert
    def fetch_window(position):
        indices = shuffled_window(position, count, epoch_length, config.seed, window)
        positions = position + tf.range(window, dtype=tf.int64)
        return positions, indices, dataset.fetch_run(indices)

    @tf.autograph.experimental.do_not_convert
    def load(position, index, fetched):
        image = dataset.decode(fetched)
        # Two folds, since a fold takes 32 bits and positions may need more.
        seed = tf.random.fold_in(tf.constant([config.seed, 0]), position // 2**31)
        seed = tf.random.fold_in(seed, position % 2**31)
        ranges = ranges_at(config, position // batch_size, last_step)

        def crop(view, side, salt):
            view_seed = tf.random.fold_in(seed, salt)
            draws = draw_crop(view, tf.shape(image), view_seed, augment, ranges)
            return {"image": crop_view(image, draws, side), "draws": draws, "seed": view_seed}

        element = {side: crop(views[side], size, salt) for salt, side in enumerate(SIDES)}
        if LOCAL in views:
            salts = range(len(SIDES), len(SIDES) + config.local_crops)
            element[LOCAL] = stacked([crop(views[LOCAL], config.local_size, s) for s in salts])
        return {"index": index, "label": dataset.label(index), **element}

    @tf.autograph.experimental.do_not_convert
    def draw(element):
        for name, view in views.items():
            seeds = element[name].pop("seed")
            element[name]["draws"] |= draw_operations(view, seeds)
        return element

    @tf.autograph.experimental.do_not_convert
    def finish(element):
        return finish_sides(element, config, augment)

    # The source is numbers of batches, so that a data service deals out whole ones.
    chunks = tf.data.Dataset.range(start_step * config.accumulate, tf.int64.max)
    ordered = chunks.flat_map(order)
    # Reading waits and decoding computes, so each has a parallelism of its own.
    reading = {"num_parallel_calls": reads, "deterministic": True}
    if window > 1:
        fetched = ordered.map(fetch_window, **reading).unbatch()
    else:
        fetched = ordered.map(fetch, **reading)
    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
    batches = fetched.map(load, **parallel).batch(replica_batch_size or part, drop_remainder=True)
    batches = batches.map(draw, **parallel)
    batches = placement(config).in_pipeline(batches, finish)
    return batches.prefetch(tf.data.AUTOTUNE)


def views_of(config: ConfigDict) -> dict[str, View]:
    """Returns the `View`s that a config describes, by their names in a batch."""
    names = (*SIDES, LOCAL) if config.local_crops else SIDES
    return {name: View(**config.views[name]) for name in names}


def finish_sides(
    batch: dict[str, Any], config: ConfigDict, augment: keras.layers.Layer | None = None
) -> dict[str, Any]:
    """Finishes all views of a batch of crops and draws; see `sassl_tf.views.finish_views`."""
    static_shapes = placement(config).static_shapes
    finished = {}
    for name, view in views_of(config).items():
        finish = finish_local_views if name == LOCAL else finish_views
        crops, draws = batch[name]["image"], batch[name]["draws"]
        finished[name] = finish(crops, draws, view, augment, static_shapes)
    return {**batch, **finished}
