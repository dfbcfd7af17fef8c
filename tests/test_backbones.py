"""Pretrained networks as backbones, against KerasCV's names and the encoder's own features."""

import keras
import numpy as np
import pytest
from keras_cv.models import ResNetBackbone

import sassl_tf
from sassl_tf.backbones import PyramidBackbone, pyramid_levels
from tests.evaluation.tiny import tiny_encoder
from training.encoders import build_encoder

IMAGES = np.random.default_rng(0).random((2, 64, 96, 3), np.float32)


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    return build_encoder("resnet10_slim", width=0.25)


@pytest.fixture(scope="module")
def backbone(encoder):
    return PyramidBackbone(encoder)


def test_levels_are_those_of_kerascv():
    blocks = {
        "stackwise_filters": [64, 96],
        "stackwise_blocks": [1, 2],
        "stackwise_strides": [1, 2],
    }
    network = ResNetBackbone(**blocks, include_rescaling=False, block_type="basic_block")
    found = pyramid_levels(keras.Model(network.inputs, network.outputs))
    assert {k: v for k, v in found.items() if k != "P1"} == network.pyramid_level_inputs


def test_levels_have_their_strides_and_the_encoders_features(encoder, backbone):
    maps = backbone(IMAGES)
    assert {level: tuple(x.shape[1:3]) for level, x in maps.items()} == {
        f"P{k}": (64 // 2**k, 96 // 2**k) for k in (2, 3, 4, 5)
    }
    pooled = np.mean(maps["P5"], axis=(1, 2))
    np.testing.assert_allclose(pooled, encoder(IMAGES), atol=1e-5)
    assert backbone.weights and {w.path for w in encoder.weights} == {
        w.path for w in backbone.weights
    }
    for level, name in backbone.pyramid_level_inputs.items():
        assert backbone.get_layer(name).output.shape == backbone.pyramid_outputs[level].shape


def test_a_backbone_is_saved_and_loaded(backbone, tmp_path):
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    assert loaded.pyramid_level_inputs == backbone.pyramid_level_inputs
    np.testing.assert_array_equal(loaded(IMAGES)["P4"], backbone(IMAGES)["P4"])


def test_other_networks_have_the_last_layer_of_each_stride():
    network = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(4, 3, strides=2, padding="same", name="down"),
            keras.layers.ReLU(name="first"),
            keras.layers.Conv2D(4, 3, strides=2, padding="same", name="second"),
        ]
    )
    assert pyramid_levels(network) == {"P1": "first", "P2": "second"}


def test_padded_maps_are_no_levels():
    """As in MobileNetV2 and in KerasHub's ResNets: 66 px of 256 are no stride."""
    network = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(4, 3, strides=4, padding="same", name="stack0_block0_out"),
            keras.layers.ZeroPadding2D(1, name="stack1_block0_1_pad"),
            keras.layers.Conv2D(4, 3, strides=2, name="down"),
            keras.layers.ReLU(name="stack1_block0_out"),
        ]
    )
    assert pyramid_levels(network) == {"P2": "stack0_block0_out", "P3": "stack1_block0_out"}
    padded = keras.Sequential([keras.Input((None, None, 3)), keras.layers.ZeroPadding2D(1)])
    with pytest.raises(ValueError, match="no feature map with a stride of 2, 4, 8"):
        pyramid_levels(padded)


def test_the_last_level_of_the_second_version_is_what_the_encoder_pools():
    encoder = build_encoder("resnet18v2", width=0.25)
    maps = PyramidBackbone(encoder)(IMAGES)
    assert sorted(maps) == ["P2", "P3", "P4", "P5"]
    np.testing.assert_allclose(np.mean(maps["P5"], axis=(1, 2)), encoder(IMAGES), atol=1e-5)


def test_an_encoder_without_feature_maps_is_refused(tmp_path):
    tiny_encoder().save(tmp_path / "tiny.keras")
    with pytest.raises(ValueError, match="has no network with feature maps"):
        sassl_tf.load_backbone(tmp_path / "tiny.keras")


def test_kerashub_takes_it(backbone):
    keras_hub = pytest.importorskip("keras_hub")
    model = keras_hub.models.DeepLabV3Backbone(
        image_encoder=backbone,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5",
        dilation_rates=[6, 12, 18],
        upsampling_size=8,
        projection_filters=48,
    )
    assert model(IMAGES).shape[:3] == (2, 64, 96)
    model = keras_hub.models.RetinaNetBackbone(
        image_encoder=backbone, min_level=3, max_level=6, use_p5=False
    )
    assert [x.shape[1:3] for x in model(IMAGES).values()] == [(8, 12), (4, 6), (2, 3), (1, 2)]
