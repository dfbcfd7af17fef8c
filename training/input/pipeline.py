"""The input of pretraining: views of every image, a pure function of (seed, position).

There are two views, "left" and "right", and, for multi-crop, `config.local_crops` small crops,
"local". The images come in the order of `training.input.order`.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from sassl_tf.datasets import ImageDataset
from sassl_tf.datasets.dataset import READS_IN_FLIGHT
from sassl_tf.views import View, crop_view, finish_views
from sassl_tf.views.apply import finish_local_views, stacked
from sassl_tf.views.draws import draw_crop, draw_operations
from training.input.data_service import served
from training.input.order import batches_per_epoch, total_steps
from training.input.placement import placement
from training.input.reading import part_of_host, read_in_order
from training.input.strength import ranges_at

SIDES = ("left", "right")
LOCAL = "local"


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
    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
    # Reading waits and decoding computes, so each has a parallelism of its own.
    fetched = read_in_order(dataset, config, start_step, share, reads)
    crops = fetched.map(_crop_views(dataset, config, augment), **parallel)
    replica_batch_size = replica_batch_size or part_of_host(config, share[1])
    batches = crops.batch(replica_batch_size, drop_remainder=True)
    views = views_of(config)

    @tf.autograph.experimental.do_not_convert
    def draw(element):
        for name, view in views.items():
            seeds = element[name].pop("seed")
            element[name]["draws"] |= draw_operations(view, seeds)
        return element

    @tf.autograph.experimental.do_not_convert
    def finish(element):
        return finish_sides(element, config, augment)

    batches = placement(config).in_pipeline(batches.map(draw, **parallel), finish)
    return batches.prefetch(tf.data.AUTOTUNE)


def _crop_views(
    dataset: ImageDataset, config: ConfigDict, augment: keras.layers.Layer | None
) -> Callable[..., dict[str, Any]]:
    """Returns the function that decodes an image and cuts its views out of it."""
    views = views_of(config)
    last_step = total_steps(config, batches_per_epoch(dataset, config))

    # Nothing here needs AutoGraph, which would take seconds to read all that is called.
    @tf.autograph.experimental.do_not_convert
    def crop_views(position, index, fetched):
        image = dataset.decode(fetched)
        # Two folds, since a fold takes 32 bits and positions may need more.
        seed = tf.random.fold_in(tf.constant([config.seed, 0]), position // 2**31)
        seed = tf.random.fold_in(seed, position % 2**31)
        ranges = ranges_at(config, position // config.batch_size, last_step)

        def crop(view, side, salt):
            view_seed = tf.random.fold_in(seed, salt)
            draws = draw_crop(view, tf.shape(image), view_seed, augment, ranges)
            return {"image": crop_view(image, draws, side), "draws": draws, "seed": view_seed}

        element = {
            side: crop(views[side], config.image_size, salt) for salt, side in enumerate(SIDES)
        }
        if LOCAL in views:
            salts = range(len(SIDES), len(SIDES) + config.local_crops)
            element[LOCAL] = stacked([crop(views[LOCAL], config.local_size, s) for s in salts])
        return {"index": index, "label": dataset.label(index), **element}

    return crop_views


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
