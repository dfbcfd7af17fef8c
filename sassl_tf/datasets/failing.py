"""Finds the images that cannot be read, among many."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from sassl_tf.datasets.dataset import READS_IN_FLIGHT

PROGRESS_FROM = 20_000  # images: from here on, checking them takes long enough for a progress bar


def failing(compute: Callable[[tf.Tensor], tf.Tensor], indices: ArrayLike) -> NDArray[np.int64]:
    """Returns those of `indices` for which `compute` fails; it is called for all, in parallel.

    Args:
        compute: TensorFlow's operations from an index (int64 []) to a tensor.
        indices: int64 [N], each of them once, in ascending order.
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
    return np.setdiff1d(indices, np.concatenate([np.empty(0, np.int64), *good]))


def _progress(count: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=count, desc="Checking images", unit="", disable=count <= PROGRESS_FROM)
