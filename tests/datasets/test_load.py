import numpy as np
import pytest
import tensorflow as tf

from sassl_tf.datasets import load_dataset
from sassl_tf.datasets.shapes import shapes


@pytest.fixture(scope="module")
def dataset():
    return shapes(count=40)


def test_shapes_by_name():
    test = load_dataset("shapes", "test")
    assert (test.name, test.split, len(test)) == ("shapes", "test", 1000)


@pytest.mark.parametrize("spec", ["shape", "cifar10", "folder:", "tfds:", "shapes:", ""])
def test_unknown_spec(spec):
    with pytest.raises(ValueError, match=r"tfds:NAME.*folder:PATH.*shapes"):
        load_dataset(spec)


def test_unknown_split():
    with pytest.raises(ValueError, match=r"'val'.*train, test, validation"):
        load_dataset("shapes", "val")


def test_random_access_inside_a_parallel_map(dataset):
    order = np.random.default_rng(0).permutation(40)
    examples = tf.data.Dataset.from_tensor_slices(order).map(
        dataset.example, num_parallel_calls=tf.data.AUTOTUNE
    )
    assert examples.element_spec["image"].shape.rank == 3
    for index, example in zip(order, examples.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(example["image"], dataset.image(index))
        assert example["label"] == dataset.labels[index] and example["label"].dtype == np.int64
    with pytest.raises(tf.errors.InvalidArgumentError):
        dataset.example(40)


def test_subsets(dataset):
    half = dataset.subset(range(39, 0, -2))
    quarter = half.subset([3, 3, 0])
    assert len(half) == 20 and quarter.labels.tolist() == dataset.labels[[33, 33, 39]].tolist()
    np.testing.assert_array_equal(quarter.example(1)["image"], dataset.image(33))
    np.testing.assert_array_equal(quarter.example(2)["label"], dataset.labels[39])
    assert quarter.class_names == dataset.class_names and len(dataset.subset([])) == 0
    prints = [dataset, half, quarter, dataset.subset([0, 1]), dataset.subset([1, 0])]
    assert len({one.fingerprint for one in prints}) == 5
    assert dataset.subset([0, 1]).fingerprint == prints[3].fingerprint


@pytest.mark.parametrize("indices", [[40], [-1], [0.5], [[0]], [True] * 40])
def test_wrong_subsets(dataset, indices):
    with pytest.raises(ValueError, match="indices"):
        dataset.subset(indices)
