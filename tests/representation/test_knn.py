"""Votes of nearest neighbours, against a loop and against scikit-learn."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from sassl_tf.representation import knn
from sassl_tf.representation.knn import default_k, knn_accuracy, knn_predict
from tests.evaluation.tiny import blobs


def brute_force(train, train_labels, test, classes, k, temperature):
    """Wu et al. 2018, one test image and one neighbour at a time."""
    predictions = []
    for x in test:
        similarities = [x @ y / (np.linalg.norm(x) * np.linalg.norm(y)) for y in train]
        votes = [0.0] * classes
        for i in sorted(range(len(train)), key=lambda i: -similarities[i])[:k]:
            votes[train_labels[i]] += np.exp(similarities[i] / temperature)
        predictions.append(int(np.argmax(votes)))
    return predictions


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.07), (60, 0.1), (120, 1.0)])
def test_predictions_are_those_of_a_loop(monkeypatch, k, temperature):
    monkeypatch.setattr(knn, "CHUNK_ELEMENTS", 120 * 7)  # chunks of 7: the last is smaller
    train, train_labels = blobs(120)
    test, _ = blobs(40, seed=1)
    predictions = knn_predict(train, train_labels, test, 4, k, temperature)
    assert predictions.dtype == np.int64
    expected = brute_force(np.float64(train), train_labels, np.float64(test), 4, k, temperature)
    assert predictions.tolist() == expected


def test_predictions_are_those_of_scikit_learn():
    train, test = blobs(500), blobs(200, seed=1)
    model = KNeighborsClassifier(25, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.1))
    expected = model.fit(*train).score(*test)
    assert knn_accuracy(*train, *test, num_classes=4, k=25) == pytest.approx(expected, abs=0.005)


def test_a_low_temperature_is_the_nearest_neighbour():
    (train, labels), (test, _) = blobs(100), blobs(50, seed=1)
    nearest = knn_predict(train, labels, test, 4, k=1)
    assert np.array_equal(knn_predict(train, labels, test, 4, k=50, temperature=1e-5), nearest)


def test_the_length_of_features_does_not_matter():
    (train, labels), (test, _) = blobs(100), blobs(50, seed=1)
    lengths = np.random.default_rng(0).uniform(0.1, 10, (100, 1))
    expected = knn_predict(train, labels, test, 4, k=9)
    assert np.array_equal(knn_predict(train * lengths, labels, 100 * test, 4, k=9), expected)


def test_k_is_capped_with_a_warning():
    (train, labels), (test, _) = blobs(15), blobs(10, seed=1)
    with pytest.warns(UserWarning, match="15 train images"):
        capped = knn_predict(train, labels, test, 4)
    assert np.array_equal(capped, knn_predict(train, labels, test, 4, k=15))


def test_k_follows_the_size_of_the_set():
    assert [default_k(n) for n in (100, 9_999, 10_000, 50_000)] == [20, 20, 200, 200]


def test_wrong_arguments_are_named():
    train, labels = blobs(10)
    with pytest.raises(ValueError, match=r"\[10, 8\] with labels \[9\]"):
        knn_predict(train, labels[:-1], train, 4, k=2)
    with pytest.raises(ValueError, match=r"test features \[10, 7\]"):
        knn_predict(train, labels, train[:, 1:], 4, k=2)
    with pytest.raises(ValueError, match="with 2 classes"):
        knn_predict(train, np.full(10, 2), train, 2, k=2)
    with pytest.raises(ValueError, match="k is 0"):
        knn_predict(train, labels, train, 4, k=0)
    with pytest.raises(ValueError, match="temperature is 0"):
        knn_predict(train, labels, train, 4, k=2, temperature=0)
    # Labels as keras.datasets has them, which NumPy would compare with one another.
    with pytest.raises(ValueError, match=r"labels \[10, 1\].*labels\[:, 0\]"):
        knn_predict(train, labels[:, None], train, 4, k=2)
    with pytest.raises(ValueError, match=r"test labels have the shape \[10, 1\]"):
        knn_accuracy(train, labels, train, labels[:, None], 4, k=2)
    for dtype in ("uint64", "int8"):
        again = knn_predict(train, labels.astype(dtype), train, 4, k=2)
        np.testing.assert_array_equal(again, knn_predict(train, labels, train, 4, k=2))
    with pytest.raises(ValueError, match="dtype float64; expected integers"):
        knn_predict(train, labels.astype(float), train, 4, k=2)
    broken = train.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"1 test features are NaN.*number 3"):
        knn_predict(train, labels, broken, 4, k=2)
