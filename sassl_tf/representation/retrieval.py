"""Search for the images whose features are most similar to those of a query."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sassl_tf.errors import UserError

CHUNK = 65_536  # rows at a time: the features of a large folder may not fit in memory


def most_similar(
    features: NDArray[np.float32], queries: ArrayLike, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Finds the rows of the highest cosine similarity to each query.

    Args:
        features: float [N, D], which may be a memory map; rows may have any length.
        queries: float [M, D].
        count: k, how many rows are found for each query; if larger than N, N is taken.

    Returns:
        The positions of the rows, int64 [M, k], and their similarities in [-1, 1], float32 [M, k],
        the most similar first; of equal ones the first in the order of the rows.

    Raises:
        ValueError: arrays that do not fit together, no row, or a count below 1.
    """
    queries = np.asarray(queries, np.float32)
    shapes = features.shape, queries.shape
    if {len(shape) for shape in shapes} != {2} or shapes[0][1] != shapes[1][1] or not shapes[0][0]:
        raise UserError(
            f"The features are {list(shapes[0])} and the queries {list(shapes[1])}; give [N, D] "
            "and [M, D], with N of 1 or more."
        )
    if count < 1:
        raise UserError(f"The count of neighbours is {count}; give 1 or more.")
    queries = unit_rows(queries)
    positions = np.empty((len(queries), 0), np.int64)
    similarities = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(features), CHUNK):
        chunk = queries @ unit_rows(np.asarray(features[start : start + CHUNK], np.float32)).T
        numbers = np.broadcast_to(np.arange(start, start + chunk.shape[1]), chunk.shape)
        positions = np.concatenate([positions, numbers], axis=1)
        similarities = np.concatenate([similarities, chunk], axis=1)
        best = np.argsort(-similarities, axis=1, kind="stable")[:, :count]
        positions = np.take_along_axis(positions, best, axis=1)
        similarities = np.take_along_axis(similarities, best, axis=1)
    return positions, similarities


def unit_rows(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the rows of float32 [N, D], each divided by its length; a row of zeros stays."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(norms, np.finfo(np.float32).tiny)
