"""The search for similar images, against scikit-learn."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from sassl_tf.representation import retrieval
from sassl_tf.representation.retrieval import most_similar
from tests.evaluation.tiny import blobs


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_neighbours_are_those_of_scikit_learn(monkeypatch, chunk):
    monkeypatch.setattr(retrieval, "CHUNK", chunk)
    (features, _), (queries, _) = blobs(90), blobs(11, seed=1)
    positions, similarities = most_similar(features, queries, 6)
    distances, expected = (
        NearestNeighbors(n_neighbors=6, metric="cosine").fit(features).kneighbors(queries)
    )
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(similarities, 1 - distances, atol=1e-5)


def test_equal_rows_come_in_their_order_and_few_rows_are_all_found():
    features = np.array([[1, 0], [2, 0], [0, 1], [0, 0]], np.float32)
    positions, similarities = most_similar(features, [[3, 0]], 9)
    assert positions.tolist() == [[0, 1, 2, 3]]
    assert similarities.tolist() == [[1, 1, 0, 0]]


@pytest.mark.parametrize(
    ("features", "queries", "count", "message"),
    [
        (np.ones((3, 2)), np.ones((1, 3)), 1, r"features are \[3, 2\] and the queries \[1, 3\]"),
        (np.ones((0, 2)), np.ones((1, 2)), 1, "N of 1 or more"),
        (np.ones((3, 2)), np.ones((1, 2)), 0, "count of neighbours is 0"),
    ],
)
def test_wrong_arguments(features, queries, count, message):
    with pytest.raises(ValueError, match=message):
        most_similar(features, queries, count)
