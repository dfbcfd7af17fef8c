"""Batches to train on: every image once an epoch."""

import numpy as np

from evaluation.training_batches import training_batches
from sassl_tf.datasets import load_dataset
from tests.evaluation.tiny import write_class_folders


def test_batches_hold_every_image_once_an_epoch_with_its_label(tmp_path):
    write_class_folders(tmp_path / "data")
    dataset = load_dataset(f"folder:{tmp_path / 'data'}")
    batches = list(training_batches(dataset, 16, 10, seed=0).take(3).as_numpy_iterator())
    assert batches[0][0].shape == (10, 16, 16, 3) and batches[0][0].max() <= 1
    labels = np.concatenate([labels for _, labels in batches])
    assert np.bincount(labels).tolist() == [10, 10, 10] and (np.diff(labels) != 0).sum() > 3
