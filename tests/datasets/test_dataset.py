"""Datasets made of others."""

import numpy as np
import pytest

from sassl_tf.datasets import load_dataset
from sassl_tf.datasets.dataset import joined
from sassl_tf.datasets.shapes import shapes
from tests.evaluation.tiny import write_class_folders


def test_two_datasets_as_one(tmp_path):
    write_class_folders(tmp_path / "data")
    spec = f"folder:{tmp_path / 'data'}"
    first, second = load_dataset(spec, "train"), load_dataset(spec, "test")
    both = joined(first, second)
    assert len(both) == 42 and both.fingerprint not in (first.fingerprint, second.fingerprint)
    np.testing.assert_array_equal(both.labels, [*first.labels, *second.labels])
    for index, expected in ((29, first.image(29)), (30, second.image(0))):
        np.testing.assert_array_equal(both.image(index), expected)
    with pytest.raises(ValueError, match="different classes"):
        joined(first, shapes(count=12))
