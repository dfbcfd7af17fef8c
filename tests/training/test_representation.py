"""What tells of collapse, by worked examples."""

import keras
import numpy as np
import pytest

from sassl_tf.datasets.shapes import shapes
from sassl_tf.representation.statistics import effective_rank, feature_std
from training.configs.simclr import get_config
from training.report.representation import Representation


def test_effective_rank_counts_equal_directions():
    """r equal singular values: exp of the entropy log r; one direction: 1."""
    for r in (1, 3, 8):
        features = np.tile(np.eye(8)[:r], (4, 1))
        assert effective_rank(features) == pytest.approx(r, rel=1e-4)
    # Singular values 3 and 1: p = 3/4 and 1/4.
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(np.exp(entropy), rel=1e-4)


def test_feature_std_is_one_on_the_sphere_and_zero_in_a_point():
    rng = np.random.default_rng(0)
    assert feature_std(rng.normal(size=(5000, 64))) == pytest.approx(1, rel=0.01)
    assert feature_std(np.ones((10, 64)) * np.arange(1, 11)[:, None]) == pytest.approx(0, abs=1e-6)


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
