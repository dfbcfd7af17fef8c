"""What every stylizer promises, and how one is asked for."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

import sassl_tf
from sassl_tf.stylizers import stylizer_from_config
from sassl_tf.stylizers.compact import (
    compact_style_network,
    compact_transfer_network,
    packaged,
)
from sassl_tf.stylizers.layers import StyleMatrix, StyleNorm
from sassl_tf.stylizers.named_weights import named_weights, set_named_weights
from sassl_tf.stylizers.transfer_network import transfer_network


@pytest.fixture(scope="module")
def compact():
    return sassl_tf.load_stylizer("compact")


def fresh_compact():
    """Networks of its own: by its name alone, compact is shared."""
    return sassl_tf.load_stylizer("compact", packaged("compact.safetensors"))


def images(count=3, height=40, width=56):
    return np.random.default_rng(0).random((count, height, width, 3), np.float32)


def test_shapes_and_range(compact):
    codes = compact.encode_style(images())
    assert codes.shape == (3, compact.code_size) and codes.dtype == tf.float32
    for sides in ((40, 56), (33, 47)):
        stylized = compact.stylize(images(3, *sides), codes).numpy()
        assert stylized.shape == (3, *sides, 3)
        assert stylized.min() >= 0 and stylized.max() <= 1


def test_compact_changes_the_picture_by_the_code(compact):
    x = images(1)
    codes = sassl_tf.StyleBank.default("compact").codes[[0, 700]]
    first, second = compact.stylize(np.repeat(x, 2, 0), codes).numpy()
    assert np.abs(first - second).mean() > 0.02


def test_constant_codes_in_a_graph_give_each_image_its_own_style(compact):
    """TensorFlow's graph optimizer once fused γ and β of the first image into all of them."""
    codes = sassl_tf.StyleBank.default("compact").codes[:3]
    x = images()
    # The images are no constants: with them, the whole picture would be folded into one.
    graph = tf.function(lambda x: compact.stylize(x, tf.constant(codes)), autograph=False)
    np.testing.assert_allclose(graph(x), compact.stylize(x, codes), atol=1e-4)


def test_xla_compiles_both_networks(compact):
    x = images(2, 24, 20)
    codes = compact.encode_style(x)

    @tf.function(jit_compile=True)
    def compiled(images, codes):
        return compact.encode_style(images), compact.stylize(images, codes)

    for ours, expected in zip(compiled(x, codes), (codes, compact.stylize(x, codes)), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_style_norm_by_hand():
    layer = StyleNorm()
    x = np.random.default_rng(1).normal(2.0, 3.0, (2, 5, 7, 4)).astype(np.float32)
    code = np.float32([[1.0, 2.0], [-1.0, 0.5]])
    layer.build([x.shape, code.shape])
    rng = np.random.default_rng(2)
    arrays = [rng.normal(size=w.shape).astype(np.float32) for w in layer.weights]
    layer.set_weights(arrays)
    named = dict(zip((w.name for w in layer.weights), arrays, strict=True))
    expected = np.empty_like(x)
    for image in range(2):
        gamma = code[image] @ named["gamma_kernel"] + named["gamma_bias"]
        beta = code[image] @ named["beta_kernel"] + named["beta_bias"]
        for channel in range(4):
            plane = x[image, :, :, channel]
            normal = (plane - plane.mean()) / np.sqrt(plane.var() + 1e-5)
            expected[image, :, :, channel] = gamma[channel] * normal + beta[channel]
    np.testing.assert_allclose(layer([x, code]), expected, atol=1e-4)


@pytest.mark.parametrize("codes", [1, 2])
def test_style_matrix_by_hand(codes):
    rng, layer = np.random.default_rng(1), StyleMatrix(7)
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    code = rng.normal(size=(codes, 6)).astype(np.float32)
    layer.build([x.shape, code.shape])
    kernel, bias = (rng.normal(size=w.shape).astype(np.float32) for w in layer.weights)
    layer.set_weights([kernel, bias])
    result = layer([x, code]).numpy()
    for image in range(2):
        matrix = (code[image % codes] @ kernel).reshape(5, 7) + bias
        np.testing.assert_allclose(result[image], x[image] @ matrix, rtol=1e-4, atol=1e-4)


def test_compact_in_bfloat16_makes_the_same_views(compact):
    x, codes = images(8, 64, 64), sassl_tf.StyleBank.default("compact").codes[:8]
    twin = compact.in_precision("bfloat16")
    exact, fast = (made.stylize(x, codes).numpy() for made in (compact, twin))
    assert fast.dtype == np.float32 and np.abs(fast - exact).max() > 0
    view_error = 0.2 * (fast - exact)  # β, in the mean
    assert -10 * np.log10(np.mean(view_error**2)) > 48
    codes, theirs = compact.encode_style(x).numpy(), twin.encode_style(x).numpy()
    assert 0 < np.abs(theirs - codes).max() < 0.1 * np.abs(codes).max()


def in_a_graph(function, x):
    return tf.function(function)(x)


def in_a_dataset(function, x):
    dataset = tf.data.Dataset.from_tensors(x).map(function, num_parallel_calls=tf.data.AUTOTUNE)
    return next(iter(dataset))


# The function of a dataset is a graph, too.
@pytest.mark.parametrize("traced", [pytest.param(in_a_graph, marks=pytest.mark.slow), in_a_dataset])
def test_precision_may_be_chosen_first_inside_a_graph(compact, traced):
    x = images(2, 32, 32)
    stylizer = fresh_compact()  # its twin has not been made
    codes = traced(lambda x: stylizer.in_precision("bfloat16").encode_style(x), x)
    expected = compact.in_precision("bfloat16").encode_style(x)
    assert np.abs(expected - compact.encode_style(x)).max() > 0
    np.testing.assert_allclose(codes, expected, atol=0.02)
    twin = stylizer.in_precision("bfloat16")
    np.testing.assert_array_equal(twin.encode_style(x), expected)  # nothing of the graph is left


def test_precision_of_a_twin_is_chosen_anew(compact):
    twin = compact.in_precision("bfloat16")
    assert twin.precision == "bfloat16" and compact.precision == "float32"
    assert twin.in_precision("bfloat16") is twin
    assert twin.in_precision("float32") is compact


@pytest.mark.parametrize("width", [0.25, 0.5])
def test_transfer_network_of_any_width_pads_to_multiples_of_four(width):
    network = transfer_network(width)
    output = network([images(2, 33, 22), np.zeros((2, 100), np.float32)])
    assert output.shape == (2, 36, 24, 3)
    assert network.get_layer("contract.conv3").filters == int(128 * width)


def test_float64_and_half_images_are_taken_and_bytes_refused(compact):
    expected = compact.encode_style(images())
    np.testing.assert_allclose(compact.encode_style(images().astype(np.float64)), expected, 1e-5)
    assert compact.encode_style(images().astype(np.float16)).dtype == tf.float32
    with pytest.raises(ValueError, match="Divide 8-bit images by 255"):
        compact.encode_style(np.zeros((1, 32, 32, 3), np.uint8))


def test_wrong_shapes_are_errors(compact):
    with pytest.raises(ValueError, match=r"expected \[B, H, W, 3\]"):
        compact.encode_style(images()[0])
    with pytest.raises(ValueError, match="2 codes for 3 images"):
        compact.stylize(images(), np.zeros((2, 100), np.float32))
    with pytest.raises(ValueError, match=r"\[B or 1, 100\]"):
        compact.stylize(images(), np.zeros((3, 7), np.float32))


def test_unknown_names_say_what_there_is():
    with pytest.raises(ValueError, match='Did you mean "magenta"\\? There are compact, magenta'):
        sassl_tf.load_stylizer("magneta")


def test_the_packages_stylizer_is_loaded_once(compact):
    assert sassl_tf.load_stylizer("compact") is sassl_tf.SASSLAugmentation().stylizer is compact


def test_fingerprint_follows_the_weights(tmp_path):
    compact = fresh_compact()
    assert compact.fingerprint == sassl_tf.load_stylizer("compact").fingerprint
    path = tmp_path / "other.safetensors"
    weights = named_weights(compact.transfer_network)
    weights["output/bias"] = weights["output/bias"] + 0.5
    set_named_weights(compact.transfer_network, weights)
    try:
        compact.save(path)
    finally:
        weights["output/bias"] = weights["output/bias"] - 0.5
        set_named_weights(compact.transfer_network, weights)
    other = sassl_tf.load_stylizer("compact", path)
    assert other.fingerprint != compact.fingerprint
    config = other.get_config()
    assert stylizer_from_config(config) is other
    del other
    gc.collect()
    assert stylizer_from_config(config).fingerprint == config["fingerprint"]
    gc.collect()
    compact.save(path)
    with pytest.raises(ValueError, match="its weights have changed"):
        stylizer_from_config(config)


def test_codes_of_any_float_type(compact):
    x = np.random.default_rng(0).random((1, 16, 16, 3)).astype(np.float32)
    codes = compact.encode_style(x)
    expected = compact.stylize(x, codes)
    for dtype, tolerance in ((tf.float64, 1e-6), (tf.float16, 0.02), (tf.bfloat16, 0.1)):
        found = compact.stylize(x, tf.cast(codes, dtype))
        np.testing.assert_allclose(found, expected, atol=tolerance)


def test_slips_are_told(compact, tmp_path):
    x = np.full((1, 16, 16, 3), 200.0, np.float32)
    for call in (compact.encode_style, lambda x: compact.stylize(x, np.zeros((1, 100)))):
        with pytest.raises(ValueError, match=r"values from 200 to 200; .* Divide"):
            call(x)
        with pytest.raises(ValueError, match=r"values from -1 to "):
            call(x / 100 - 3)
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        compact.save(tmp_path / "weights")


def test_small_images_of_unknown_size_are_told(compact):
    graph = tf.function(
        lambda x: compact.stylize(x, np.zeros((1, 100))), [tf.TensorSpec([None, None, None, 3])]
    )
    assert graph(np.zeros((1, 5, 64, 3))).shape == (1, 5, 64, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="less than 5 pixels"):
        graph(np.zeros((1, 4, 64, 3)))


def test_networks_take_float32_whatever_keras_floatx_is():
    try:
        keras.config.set_floatx("float16")
        networks = compact_style_network(), compact_transfer_network(), transfer_network()
    finally:
        keras.config.set_floatx("float32")
    inputs = [x.dtype for network in networks for x in network.inputs]
    assert inputs == ["float32"] * 5


def test_unfitting_weights_are_named(compact):
    weights = named_weights(compact.style_network)
    del weights["Conv/kernel"]
    weights["Conv_1/kernel"] = weights["Conv_1/kernel"][..., :3]
    weights["stranger/kernel"] = np.zeros(3)
    with pytest.raises(ValueError, match="do not fit compact_style_network") as error:
        set_named_weights(compact.style_network, weights)
    for word in (
        "1 missing: Conv/kernel",
        "1 unexpected: stranger/kernel",
        "1 of another shape: Conv_1/kernel is (1, 1, 320, 3) for (1, 1, 320, 1280)",
    ):
        assert word in str(error.value)


def test_missing_compact_weights(tmp_path):
    with pytest.raises(ValueError, match=r"expected a \.safetensors file"):
        sassl_tf.load_stylizer("compact", tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0")
    with pytest.raises(ValueError, match="damaged"):
        sassl_tf.load_stylizer("compact", tmp_path / "cut.safetensors")
