"""A collapse is told of during training, and only labelled images are classified."""

import dataclasses

import keras
import numpy as np
import pytest

from sassl_tf.datasets.shapes import shapes
from sassl_tf.representation.features import extract_features
from sassl_tf.representation.knn import default_k, knn_accuracy
from training.configs.simclr import get_config
from training.report.representation import Representation


def encoder(kernel):
    images = keras.Input((None, None, 3))
    x = keras.layers.GlobalAveragePooling2D()(images)
    x = keras.layers.Dense(8, kernel_initializer=kernel, bias_initializer="ones")(x - 0.5)
    return keras.Model(images, x)


def test_a_collapsed_representation_is_told(capsys):
    dataset, config = shapes("train", count=60, size=24), get_config("smoke")
    healthy = Representation(
        encoder(keras.initializers.RandomNormal(stddev=5.0, seed=0)), dataset, config
    ).measure()
    assert "collapsed" not in "".join(capsys.readouterr())
    collapsed = Representation(encoder("zeros"), dataset, config).measure()
    assert "The representation has collapsed" in "".join(capsys.readouterr())
    assert collapsed["effective_rank"] == pytest.approx(1, abs=0.01)
    assert healthy["effective_rank"] > 1.5
    assert set(healthy) == {"feature_std", "effective_rank", "knn_accuracy"}


def test_images_without_a_label_have_no_part_in_the_knn_accuracy():
    dataset, config = shapes("train", count=60, size=24), get_config("smoke")
    normal = encoder(keras.initializers.RandomNormal(stddev=5.0, seed=0))
    labels = dataset.labels.copy()
    labels[20:] = -1
    some = dataclasses.replace(dataset, labels=labels)
    found = Representation(normal, some, config).measure()["knn_accuracy"]
    order = np.random.default_rng(config.seed).permutation(60)
    of_labelled = order[labels[order] >= 0]
    features = extract_features(normal, dataset.subset(of_labelled), config.image_size)
    expected = knn_accuracy(
        *(features[4:], labels[of_labelled[4:]], features[:4], labels[of_labelled[:4]]),
        len(dataset.class_names),
        k=default_k(20),
    )
    assert found == pytest.approx(100 * expected)
    labels[3:] = -1
    few = dataclasses.replace(dataset, labels=labels)
    assert "knn_accuracy" not in Representation(normal, few, config).measure()
