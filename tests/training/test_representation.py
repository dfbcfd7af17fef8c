"""A collapsed representation is told of during training."""

import keras
import pytest

from sassl_tf.datasets.shapes import shapes
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
