"""Weighted k-nearest-neighbour classification of features.

Wu et al. 2018 (arXiv 1805.01978), as in DINO and lightly: each of the k train images of the highest
cosine similarity s votes for its class with weight exp(s / T).
"""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sassl_tf.errors import UserError
from sassl_tf.representation.retrieval import unit_rows

SMALL_SET = 10_000
CHUNK_ELEMENTS = 2**25  # of the similarity matrix at a time: 128 MB of float32


def default_k(train_count: int) -> int:
    """Returns 200, the literature's k, or 20 where the train split is smaller than 10,000."""
    return 200 if train_count >= SMALL_SET else 20


def knn_predict(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    test_features: ArrayLike,
    num_classes: int,
    k: int = 200,
    temperature: float = 0.1,
) -> NDArray[np.int64]:
    """Predicts labels by a weighted vote of the nearest neighbours.

    Args:
        train_features: float [N, D]; rows may have any length, as they are normalized here.
        train_labels: int [N] in [0, num_classes).
        test_features: float [M, D].
        num_classes: int.
        k: the number of neighbours; if larger than N, N is taken, with a warning.
        temperature: positive; the lower it is, the more weight the nearest neighbours have.

    Returns:
        int64 [M]; the lowest of classes with equal votes.

    Raises:
        ValueError: k below 1, a temperature that is not positive, arrays that do not fit together,
            features that are not finite, or labels that are no integers in [0, num_classes).
    """
    labels = np.asarray(train_labels)
    train, test = np.asarray(train_features, np.float32), np.asarray(test_features, np.float32)
    _check(train, labels, test, num_classes, k, temperature)
    k = capped(k, len(train))
    train, test = unit_rows(train).T, unit_rows(test)
    chunk = max(1, CHUNK_ELEMENTS // train.shape[1])
    predictions = np.empty(len(test), np.int64)
    for start in range(0, len(test), chunk):
        similarity = test[start : start + chunk] @ train
        votes = _votes(similarity, labels.astype(np.int64), num_classes, k, temperature)
        predictions[start : start + chunk] = votes.argmax(axis=1)
    return predictions


def knn_accuracy(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    num_classes: int,
    k: int = 200,
    temperature: float = 0.1,
) -> float:
    """Returns the share in [0, 1] of test labels [M] that `knn_predict` predicts.

    Raises:
        ValueError: as `knn_predict`, or there are not M test labels.
    """
    labels, count = np.asarray(test_labels), len(np.asarray(test_features))
    if labels.shape != (count,):
        raise UserError(
            f"The test labels have the shape {list(labels.shape)} for {count} test features; give "
            f"[{count}]."
        )
    predictions = knn_predict(
        train_features, train_labels, test_features, num_classes, k, temperature
    )
    return float(np.mean(predictions == labels))


def _votes(
    similarity: NDArray[np.float32],
    labels: NDArray[np.integer],
    num_classes: int,
    k: int,
    temperature: float,
) -> np.ndarray:
    """Returns float64 [B, num_classes] from similarities [B, N] and labels [N]."""
    nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]  # B x k
    highest = np.take_along_axis(similarity, nearest, axis=1).astype(np.float64)
    # Relative to the nearest: the same winner, and no overflow at a low temperature.
    weights = np.exp((highest - highest.max(axis=1, keepdims=True)) / temperature)
    cells = np.arange(len(nearest))[:, None] * num_classes + labels[nearest]
    votes = np.bincount(cells.ravel(), weights.ravel(), minlength=len(nearest) * num_classes)
    return votes.reshape(len(nearest), num_classes)


def capped(k: int, train_count: int) -> int:
    """Returns k, or the number of train images where that is smaller, with a warning."""
    if k > train_count:
        warnings.warn(
            f"k is {k} but there are {train_count} train images; going on with k = {train_count}.",
            stacklevel=3,
        )
    return min(k, train_count)


def _check(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    num_classes: int,
    k: int,
    temperature: float,
) -> None:
    train_shape, test_shape = train_features.shape, test_features.shape
    fit = len(train_shape) == len(test_shape) == 2 and train_shape[1] == test_shape[1]
    if not fit or train_labels.shape != train_shape[:1] or not train_labels.size:
        raise UserError(
            f"The train features are {list(train_shape)} with labels {list(train_labels.shape)}, "
            f"the test features {list(test_shape)}; give [N, D], [N] and [M, D]. Labels [N, 1], as "
            "of keras.datasets, become [N] by labels[:, 0]."
        )
    if train_labels.dtype.kind not in "iub":
        raise UserError(
            f"The train labels have dtype {train_labels.dtype}; expected integers, from 0 on."
        )
    for name, features in (("train", train_features), ("test", test_features)):
        if not np.isfinite(features).all():
            rows = np.flatnonzero(~np.isfinite(features).all(axis=1))
            raise UserError(
                f"{len(rows)} {name} features are NaN or infinite (the first is number {rows[0]})."
            )
    if np.min(train_labels) < 0 or np.max(train_labels) >= num_classes:
        raise UserError(
            f"The train labels go from {np.min(train_labels)} to {np.max(train_labels)}; "
            f"with {num_classes} classes give labels from 0 to {num_classes - 1}."
        )
    if k < 1 or not temperature > 0:
        raise UserError(
            f"k is {k} and the temperature is {temperature}; give k of 1 or more and a positive "
            "temperature (0.07 to 0.1 is usual)."
        )
