"""Finds the images that cannot be read, among many."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from sassl_tf.datasets.dataset import READS_IN_FLIGHT
from sassl_tf.errors import FileError
from sassl_tf.files import short_reason

# The errors of images that are no images, are cut off or are gone.
DAMAGE = (
    tf.errors.InvalidArgumentError,
    tf.errors.DataLossError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    UnicodeDecodeError,  # some of TensorFlow's messages quote the bytes of the file
)
LOOKED_AT_AGAIN = 1000  # images that failed
PROGRESS_FROM = 20_000  # images: from here on, checking them takes long enough for a progress bar


def failing(compute: Callable[[tf.Tensor], tf.Tensor], indices: ArrayLike) -> NDArray[np.int64]:
    """Returns those of `indices` whose images are damaged: `compute` fails for them.

    It is called for all, in parallel, and then once more for those that failed: what fails because
    a disk or a bucket does not answer is no damage. Only where the first thousand of them are all
    damaged, the others count as damaged too.

    Args:
        compute: TensorFlow's operations from an index (int64 []) to a tensor.
        indices: int64 [N], each of them once, in ascending order.

    Raises:
        OSError: an image may be whole, but cannot be read now.
    """
    indices = np.asarray(indices, np.int64)
    computed = (
        tf.data.Dataset.from_tensor_slices(indices)
        # The shape is returned so that the computation is not optimised away.
        .map(
            lambda index: (index, tf.shape(compute(index))),
            num_parallel_calls=READS_IN_FLIGHT,
            deterministic=False,
        )
        .ignore_errors()
        .batch(256)
    )
    good = []
    with _progress(len(indices)) as progress:
        for some, _ in computed.as_numpy_iterator():
            good.append(some)
            progress.update(len(some))
    failed = np.setdiff1d(indices, np.concatenate([np.empty(0, np.int64), *good]))
    first, rest = np.split(failed, [LOOKED_AT_AGAIN])
    damaged = [index for index in first if _is_damaged(compute, index)]
    if len(damaged) < len(first):
        damaged += [index for index in rest if _is_damaged(compute, index)]
    else:  # as in a folder of other files, which would take hours
        damaged += [*rest]
    return np.array(damaged, np.int64)


def _is_damaged(compute: Callable[[tf.Tensor], tf.Tensor], index: np.int64) -> bool:
    try:
        compute(tf.constant(index, tf.int64))
    except DAMAGE:
        return True
    except tf.errors.OpError as error:
        raise FileError(
            f"An image cannot be read now: {short_reason(error)}. See that it can be, or take it "
            "away, and give the same command again."
        ) from error
    return False


def _progress(count: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=count, desc="Checking images", unit="", disable=count <= PROGRESS_FROM)
