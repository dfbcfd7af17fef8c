"""Convolutions of patches against the convolutions of pixels that they stand for."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sassl_tf.stylizers.layers import (
    DepthToSpace,
    PatchConv2D,
    PatchPadding,
    SpaceToDepth,
    UpsampledConv2D,
)
from sassl_tf.stylizers.named_weights import named_weights, set_named_weights
from sassl_tf.stylizers.transfer_network import patch_transfer_network, transfer_network


def made_up(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def patches(x, side):
    """[B, H, W, C] to patches, by a transpose of NumPy's."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // side, side, width // side, side, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // side, width // side, -1)


def pixels(x, side):
    """The inverse of `patches`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, side, side, channels // side**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * side, width * side, -1)


@pytest.mark.parametrize("mode", ["REFLECT", "SYMMETRIC"])
@pytest.mark.parametrize("side", [1, 2, 4])
@pytest.mark.parametrize("ends", [(1, 1), (1, 0), (0, 1)])
def test_padding_is_numpys(mode, side, ends):
    x = made_up(2, 3 * side, 4 * side, 3)
    layer = PatchPadding(*ends, mirror=mode == "REFLECT", side=side)
    margins = [(0, 0), *[tuple(side * end for end in ends)] * 2, (0, 0)]
    expected = np.pad(x, margins, mode.lower())
    np.testing.assert_array_equal(pixels(layer(patches(x, side)).numpy(), side), expected)


@pytest.mark.parametrize(("size", "side", "stride"), [(9, 4, 1), (3, 4, 2), (3, 2, 2), (3, 1, 1)])
def test_a_convolution_of_patches_is_that_of_pixels(size, side, stride):
    x = made_up(2, 5 * side, 6 * side, 3)
    layer = PatchConv2D(5, size, side, stride, use_bias=True)
    after = 1 if stride == 1 else 0
    padded = PatchPadding(1, after, side=side)(patches(x, side))
    layer.build(padded.shape)
    kernel, bias = made_up(size, size, 3, 5, seed=1), made_up(5, seed=2)
    layer.set_weights([kernel, bias])
    margin = size // 2
    mirrored = np.pad(x, [(0, 0), (margin, margin), (margin, margin), (0, 0)], "reflect")
    expected = tf.nn.relu(tf.nn.conv2d(mirrored, kernel, stride, "VALID") + bias)
    np.testing.assert_allclose(pixels(layer(padded).numpy(), side // stride), expected, atol=1e-4)


@pytest.mark.parametrize("side", [1, 2])
def test_an_upsampling_convolution_of_patches_is_that_of_pixels(side):
    x = made_up(2, 5 * side, 6 * side, 3)
    layer = PatchConv2D(4, 3, side, upsample=True)
    padded = PatchPadding(mirror=False, side=side)(patches(x, side))
    layer.build(padded.shape)
    kernel = made_up(3, 3, 3, 4, seed=1)
    layer.set_weights([kernel])
    reference = UpsampledConv2D(4)
    reference.build(x.shape)
    reference.set_weights([kernel])
    np.testing.assert_allclose(
        pixels(layer(padded).numpy(), 2 * side), reference(x), rtol=1e-4, atol=1e-4
    )


def test_patches_and_back():
    x = made_up(2, 8, 12, 3)
    np.testing.assert_array_equal(SpaceToDepth()(x), patches(x, 4))
    np.testing.assert_array_equal(DepthToSpace()(patches(x, 4)), x)


def test_the_network_of_patches_is_that_of_pixels():
    ours, theirs = patch_transfer_network(0.25), transfer_network(0.25)
    rng = np.random.default_rng(3)
    arrays = {
        name: rng.normal(0, 1.5 / np.sqrt(np.prod(array.shape[:-1]) or 1), array.shape)
        for name, array in named_weights(theirs).items()
    }
    for network in (ours, theirs):
        set_named_weights(network, arrays)
    content, code = rng.random((2, 32, 44, 3), np.float32), made_up(2, 100)
    expected = theirs([content, code])
    assert np.std(expected) > 0.05
    np.testing.assert_allclose(ours([content, code]), expected, atol=2e-4)


def test_layers_come_back_from_their_configs():
    for layer in (PatchPadding(1, 0, mirror=False, side=2), PatchConv2D(5, 3, 4, 2, use_bias=True)):
        twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert twin.get_config() == layer.get_config()
