"""The order of the images in training: a pure function of (seed, position).

An epoch is as many whole batches as the data gives, in an order of its own; which images are left
over changes from epoch to epoch. Position p of the endless stream lies in epoch p // m, where m is
the number of images in an epoch's batches, and is image p % m of its order. So a run that starts at
step s begins the stream at s·B and sees what an uninterrupted run would have, and nothing about the
input has to be saved.
"""

import tensorflow as tf
from ml_collections import ConfigDict

from sassl_tf.datasets import ImageDataset
from sassl_tf.errors import UserError

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
