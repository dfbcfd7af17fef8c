"""The attention of a class token, by the published code, and its picture."""

import keras
import numpy as np
import pytest

import sassl_tf
from sassl_tf.representation.attention import class_attention, has_class_attention
from tests.test_vit import IMAGES, with_fixed_weights
from training.encoders import build_encoder

# By facebookresearch/dino, vision_transformer.py (get_last_selfattention), in float64 with the
# weights of tests/test_vit.py: of the first image, to its first patches, by both heads.
PUBLISHED = [
    [0.06111442139438074, 0.0831933138779828, 0.03640958913745691, 0.04311462935123866],
    [0.0400249503799064, 0.20513439683545578, 0.03752048251884596, 0.04427477029928062],
]


@pytest.fixture(scope="module")
def vit():
    return with_fixed_weights(sassl_tf.vit.vision_transformer("micro", 8, 32))


def test_it_is_that_of_the_published_code(vit):
    maps = class_attention(vit, IMAGES)
    assert maps.shape == (2, 2, 4, 4) and maps.dtype == np.float32
    np.testing.assert_allclose(maps[0, :, 0], PUBLISHED, atol=1e-5)
    assert np.all(maps > 0) and np.all(maps.sum(axis=(2, 3)) < 1)


def test_encoders_scale_their_images_first(vit):
    encoder = build_encoder("vit_micro8", image_size=32)
    encoder.set_weights(vit.get_weights())
    maps = class_attention(encoder, (IMAGES + 1) / 2)
    np.testing.assert_allclose(maps, class_attention(vit, IMAGES), atol=1e-5)
    assert class_attention(encoder, np.zeros((1, 50, 24, 3), np.float32)).shape == (1, 2, 6, 3)


def test_encoders_without_a_class_token():
    assert has_class_attention(build_encoder("vit_micro8", image_size=16))
    mean = build_encoder("vit_micro8", vit={"pool": "mean"}, image_size=16)
    convolutional = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    # A transformer deeper inside is not looked for.
    nested = keras.Sequential([build_encoder("vit_micro8", image_size=16)])
    for encoder in (mean, convolutional, nested):
        assert not has_class_attention(encoder)
        with pytest.raises(ValueError, match="no vision transformer with a class token"):
            class_attention(encoder, IMAGES)


def test_its_picture():
    images = np.zeros((2, 32, 32, 3), np.uint8)
    attention = np.zeros((2, 8, 4, 4), np.float32)
    attention[0, 1, 2, 3] = 1
    drawn = sassl_tf.plot.attention_grid(images, attention, heads=2)
    titles = [axis.get_title() for axis in drawn.axes]
    assert [t for t in titles if t] == ["image", "mean of heads", "head 1", "head 2"]
    assert len(drawn.axes) == 8
    shown = [axis.images[0].get_array() for axis in drawn.axes[:4]]
    np.testing.assert_allclose(shown[1][2, 3], 1 / 8)
    assert shown[2].max() == 0 and shown[3][2, 3] == 1
