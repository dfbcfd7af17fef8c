"""The layer and arguments, images and settings that nobody should give it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sassl_tf import SASSLAugmentation, StyleBank, load_stylizer
from sassl_tf.stylizers.compact import (
    compact_style_network,
    compact_transfer_network,
    packaged,
)
from sassl_tf.stylizers.inception import inception_style_network
from sassl_tf.stylizers.mobile import mobilenet_style_network
from sassl_tf.stylizers.precision import float32_policy
from sassl_tf.stylizers.transfer_network import transfer_network
from tests.stylizers.tiny import tiny_bank, tiny_stylizer

SEED = (3, 4)


@pytest.fixture(scope="module")
def augment():
    return SASSLAugmentation(tiny_stylizer(), tiny_bank(), probability=1.0, seed=0)


def images(count=2, height=24, width=32):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


INF = float("inf")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value_range": (0, INF)}, r"within ±2\*\*32"),
        ({"value_range": (-INF, INF)}, r"within ±2\*\*32"),
        ({"value_range": (0, 1e39)}, r"within ±2\*\*32"),
        ({"value_range": (0, 10**400)}, "value_range is"),
        ({"value_range": (0, float("nan"))}, "expected .lowest, highest."),
        ({"value_range": (0, 1e-45)}, "expected a wider range"),
        ({"value_range": (2**31, 2**31 + 1)}, "expected a wider range"),
        ({"value_range": "01"}, "value_range is '01'"),
        ({"value_range": ("low", "high")}, "value_range is"),
        ({"seed": 0.5}, "seed is 0.5; expected None or an integer"),
        ({"seed": "1"}, "seed is '1'"),
        ({"seed": True}, "seed is True"),
        ({"static_shapes": "no"}, "static_shapes is 'no'; expected True or False"),
        ({"static_shapes": 1}, "static_shapes is 1"),
        ({"stylize_size": 32.0}, "stylize_size is 32.0"),
        ({"encode_size": True}, "encode_size is True"),
        ({"probability": float("nan")}, "probability is nan"),
        ({"blending_factor": (0, float("nan"))}, "blending_factor is"),
        ({"blending_factor": "01"}, "blending_factor is '01'"),
        ({"stylizer": None}, "no stylizer None"),
        ({"precision": "float16"}, "precision is 'float16'"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SASSLAugmentation(**arguments)


def test_numbers_of_numpy_are_taken():
    layer = SASSLAugmentation(
        stylize_size=np.int64(32),
        encode_size=np.int32(48),
        seed=np.uint8(3),
        static_shapes=np.bool_(True),
        value_range=np.array([0, 1]),
    )
    kept = layer.stylize_size, layer.encode_size, layer.seed, layer.static_shapes
    assert kept == (32, 48, 3, True) and all(type(value) in (int, bool) for value in kept)
    assert layer.value_range == (0.0, 1.0)


@pytest.mark.parametrize("value_range", [(-(2.0**32), 2.0**32), (0, 2.0**32), (0, 0.01)])
def test_the_widest_and_the_narrowest_range_work(value_range):
    low, high = value_range
    unit = (images() / 255.0).astype(np.float32)

    def views_of(x, value_range):
        arguments = {"probability": 1.0, "value_range": value_range, "precision": "float32"}
        return SASSLAugmentation(tiny_stylizer(), tiny_bank(), **arguments)(x, seed=SEED).numpy()

    expected = views_of(unit, (0, 1))
    views = (views_of(low + (high - low) * unit, value_range) - low) / (high - low)
    np.testing.assert_allclose(views, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (images() > 9, "dtype bool; expected uint8 or float"),
        (images().astype(np.complex64), "dtype complex64"),
        (np.full((2, 20, 20, 3), None), "dtype object"),
        (np.full((2, 20, 20, 3), "a"), "dtype"),
        (None, "are a NoneType; expected one array"),
        (list(images()), "are a list"),
        (tuple(images()), "are a tuple"),
        ([images(1, 8, 8)[0], images(1, 9, 9)[0]], "np.stack"),
        ("photo.jpg", "are a str"),
        ({"images": None}, "are a NoneType"),
        ({}, 'expected the images under "images"'),
        (tf.ragged.stack([images()[0], images(1, 30, 32)[0]]), "are a RaggedTensor"),
        (images(2, 1, 1), r"less than 5 pixels.*\(2, 1, 1, 3\)"),
        (images(2, 1, 40), "less than 5 pixels"),
        (images(2, 0, 40), "less than 5 pixels"),
        (images(1, 4, 4)[0], "less than 5 pixels"),
    ],
)
def test_inputs(augment, inputs, message):
    with pytest.raises(ValueError, match=message):
        augment(inputs, training=True)


def test_the_same_in_a_dataset_and_in_a_model(augment):
    with pytest.raises(ValueError, match="dtype bool"):
        tf.data.Dataset.from_tensors(images() > 9).map(augment)
    ragged = tf.ragged.stack([images()[0], images(1, 30, 32)[0]])
    with pytest.raises(ValueError, match="are a RaggedTensor"):
        tf.data.Dataset.from_tensors(ragged).map(augment)
    with pytest.raises(ValueError, match="dtype bool"):
        keras.Sequential([keras.Input((32, 32, 3), dtype="bool"), augment])


def test_unknown_ranks(augment):
    unknown = tf.function(augment, input_signature=[tf.TensorSpec(None, tf.uint8)])
    with pytest.raises(ValueError, match=r"unknown rank; .*tf\.ensure_shape"):
        unknown(images())


def test_small_images_of_sizes_that_only_the_run_tells(augment):
    signature = [tf.TensorSpec((None, None, None, 3), tf.uint8)]
    graph = tf.function(augment, input_signature=signature)
    assert graph(images(2, 5, 6)).shape == (2, 5, 6, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="less than 5 pixels"):
        graph(images(2, 4, 40))


def test_five_pixels_are_enough_for_every_network():
    x, codes = images(2, 5, 5) / np.float32(255), np.zeros((2, 100), np.float32)
    for network in (transfer_network(0.25), compact_transfer_network()):
        assert np.isfinite(network([x, codes])[:, :5, :5]).all()


def test_one_pixel_passes_where_nothing_is_stylized():
    x = images(2, 1, 1)
    np.testing.assert_array_equal(SASSLAugmentation()(x, training=False), x)
    np.testing.assert_array_equal(SASSLAugmentation(probability=0)(x), x)


@pytest.mark.parametrize(
    "build",
    [
        inception_style_network,
        lambda: transfer_network(0.25),
        mobilenet_style_network,
        compact_style_network,
        compact_transfer_network,
    ],
)
def test_channels_first_in_keras_json_changes_no_network(build, request):
    with float32_policy():
        usual = build()
    keras.config.set_image_data_format("channels_first")
    request.addfinalizer(lambda: keras.config.set_image_data_format("channels_last"))
    with float32_policy():
        other = build()
    other.set_weights(usual.get_weights())
    side = usual.inputs[0].shape[1] or 48
    x = np.random.default_rng(0).random((2, side, side, 3), np.float32)
    inputs = x if len(usual.inputs) == 1 else [x, np.ones((2, 100), np.float32)]
    there = other(inputs).numpy()
    keras.config.set_image_data_format("channels_last")
    np.testing.assert_allclose(there, usual(inputs), atol=1e-6)


def test_channels_first_changes_no_view(request):
    expected = SASSLAugmentation()(images(), seed=SEED).numpy()
    keras.config.set_image_data_format("channels_first")
    request.addfinalizer(lambda: keras.config.set_image_data_format("channels_last"))
    built_anew = load_stylizer("compact", packaged("compact.safetensors"))
    layer = SASSLAugmentation(built_anew, StyleBank.default("compact"))
    np.testing.assert_array_equal(layer(images(), seed=SEED), expected)


def test_codes_that_overflow():
    for value in (1e30, -1e30, 1e300, 1.1e6):
        with pytest.raises(ValueError, match=r"values up to|not finite"):
            StyleBank(np.full((2, 100), value), "0123456789abcdef")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_largest_codes_make_finite_views(precision):
    stylizer = load_stylizer("compact").in_precision(precision)
    signs = np.sign(np.random.default_rng(0).standard_normal((2, 100)))
    x = images() / np.float32(255)
    views = stylizer.stylize(x, signs * StyleBank.LARGEST_CODE).numpy()
    assert np.isfinite(views).all() and views.min() >= 0 and views.max() <= 1


def test_a_bank_in_an_npy_file(tmp_path):
    path = tmp_path / "codes.npy"
    np.save(path, np.zeros((3, 100), np.float32))
    with pytest.raises(ValueError, match=r"single array of shape \(3, 100\)") as error:
        StyleBank.load(path)
    assert "StyleBank(array, stylizer.fingerprint)" in str(error.value)
