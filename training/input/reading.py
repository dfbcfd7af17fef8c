"""Reads the images of each batch, in the order of `training.input.order`."""

import tensorflow as tf
from ml_collections import ConfigDict

from sassl_tf.datasets import ImageDataset
from sassl_tf.datasets.dataset import READS_IN_FLIGHT
from sassl_tf.errors import UserError
from training.input.order import batches_per_epoch, index_in_epoch, shuffled_window


def part_of_host(config: ConfigDict, hosts: int) -> int:
    """Returns how many images of what is trained on at a time each of `hosts` hosts makes.

    Raises:
        ValueError: that is not a whole number of windows.
    """
    part, window = config.batch_size // config.accumulate // hosts, config.shuffle_window
    if part % window:
        raise UserError(
            f"shuffle_window is {window}, and each of {hosts} hosts makes {part} images of a "
            "batch; expected a divisor of that. Set another --config.shuffle_window."
        )
    return part


def read_in_order(
    dataset: ImageDataset,
    config: ConfigDict,
    start_step: int = 0,
    share: tuple[int, int] = (0, 1),
    reads: int = READS_IN_FLIGHT,
) -> tf.data.Dataset:
    """An endless dataset of encoded images, from the first of a step on.

    The arguments are those of `training.input.pipeline.view_batches`.

    Returns:
        A `tf.data.Dataset` of (position in the stream, index in the dataset, what
        `dataset.decode` makes the image of).

    Raises:
        ValueError: the batch is larger than the dataset, or no whole number of windows.
    """
    number, hosts = share
    count = len(dataset)
    epoch_length = batches_per_epoch(dataset, config) * config.batch_size
    part, window = part_of_host(config, hosts), config.shuffle_window
    chunk = config.batch_size // config.accumulate  # what is trained on at a time

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

    # The source is numbers of chunks, so that a data service deals out whole ones.
    ordered = tf.data.Dataset.range(start_step * config.accumulate, tf.int64.max).flat_map(order)
    reading = {"num_parallel_calls": reads, "deterministic": True}
    if window > 1:
        return ordered.map(fetch_window, **reading).unbatch()
    return ordered.map(fetch, **reading)
