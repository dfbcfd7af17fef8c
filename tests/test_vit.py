"""Vision transformers: features by the published code, positions, sizes and files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sassl_tf.drop_path import DropPath
from sassl_tf.vit import interpolated, sincos_positions, vision_transformer

IMAGES = np.random.default_rng(100).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)


def with_fixed_weights(model):
    """Weights that NumPy makes anywhere, each by the number of its place."""
    for number, weight in enumerate(model.weights):
        noise = np.random.default_rng(number).normal(size=weight.shape)
        weight.assign(0.1 * noise + ("gamma" in weight.path))
    return model


@pytest.fixture(scope="module")
def model():
    return with_fixed_weights(vision_transformer("micro", 8, 32, drop_path=0.5))


def test_the_features_are_those_of_the_published_code(model):
    """By facebookresearch/dino, vision_transformer.py, in float64 with the same weights."""
    expected = [
        [-1.0052396645755035, 0.5765255909669935, 0.8724595705070307, 1.6226518240846999],
        [-1.0772528063015914, -0.8566932053325886, 0.23591552201054483, 0.9761988869306907],
    ]
    features = model(IMAGES)
    np.testing.assert_allclose(features[:, :4], expected, atol=1e-5)
    sums = [53.652011118747204, 52.65641793437985]
    np.testing.assert_allclose(np.abs(features).sum(axis=1), sums, rtol=1e-5)


def test_the_fixed_positions_are_those_of_the_published_code():
    """By facebookresearch/moco-v3, vits.py, for 3×3 patches and 8 dimensions."""
    positions = sincos_positions(3, 3, 8)
    sin, cos = [0.8414709568, 0.0099998331], [0.5403023362, 0.9999499917]
    twice = [0.9092974067, 0.0199986659, -0.4161468446, 0.9998000264]
    np.testing.assert_allclose(positions[0, 1], [0, 0, 1, 1, *sin, *cos], atol=1e-6)
    np.testing.assert_allclose(positions[1, 0], [*sin, *cos, 0, 0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(positions[1, 2], [*sin, *cos, *twice], atol=1e-6)
    with pytest.raises(ValueError, match="multiple of 4"):
        sincos_positions(2, 2, 6)


@pytest.mark.parametrize(("side", "size"), [(4, (7, 5)), (14, (19, 14)), (3, (12, 12))])
def test_the_interpolation_is_that_of_tensorflow(side, size):
    table = np.random.default_rng(0).normal(size=(side, side, 3)).astype(np.float32)
    # Its antialiasing changes nothing where images grow, and is exact where its plain kernel is
    # read from a table.
    expected = tf.image.resize(table[None], size, "bicubic", antialias=True)[0]
    np.testing.assert_allclose(interpolated(table, *size), expected, atol=3e-5)


def test_smaller_grids_are_not_antialiased():
    table = np.random.default_rng(0).normal(size=(14, 14, 3)).astype(np.float32)
    expected = tf.image.resize(table[None], (6, 6), "bicubic")[0]
    np.testing.assert_allclose(interpolated(table, 6, 6), expected, atol=3e-3)
    np.testing.assert_array_equal(interpolated(table, 14, 14), table)


def test_images_of_other_sizes(model):
    """In eager mode, and in a graph that does not know the size."""
    images = np.random.default_rng(0).random((2, 51, 16, 3), np.float32)
    features = model(images)
    assert features.shape == (2, 64)
    np.testing.assert_allclose(model(images[:, :48]), features, atol=1e-5)  # whole patches
    graph = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    np.testing.assert_allclose(graph(images), features, atol=1e-5)
    np.testing.assert_allclose(graph(IMAGES), model(IMAGES), atol=1e-5)


def test_places_matter_to_tokens_and_to_the_mean():
    """Without positions an attention would not see that patches are in another order."""
    swapped = np.concatenate([IMAGES[:, 8:], IMAGES[:, :8]], axis=1)
    for arguments in ({"pool": "mean"}, {"positions": "sincos"}):
        model = with_fixed_weights(vision_transformer("micro", 8, 32, **arguments))
        assert np.abs(model(swapped) - model(IMAGES)).max() > 1e-3
    paths = [weight.path for weight in model.weights]
    assert not any("positions" in path for path in paths) and "class_token/token" in paths


def test_it_loads_from_a_file(model, tmp_path):
    model.save(tmp_path / "vit.keras")
    again = keras.saving.load_model(tmp_path / "vit.keras")  # in safe mode
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))


def test_drop_path_leaves_out_branches_of_single_images(model):
    """In the second of the two blocks, with p = 0.5 and the scale 2 for those that stay."""
    block = keras.Model(model.input, model.get_layer("block0_mlp_add").output)
    np.testing.assert_array_equal(block(IMAGES, training=True), block(IMAGES))
    branch = model.get_layer("block1_mlp2").output
    dropped = model.get_layer("block1_mlp_drop_path").output
    both = keras.Model(model.input, [branch, dropped])
    keras.utils.set_random_seed(0)
    before, after = both(np.repeat(IMAGES, 16, axis=0), training=True)
    ratios = np.median(after / before, axis=(1, 2))
    assert set(ratios.tolist()) == {0.0, 2.0}
    assert len(set(ratios[:16].tolist())) == 2  # of equal images


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("rate", [0.1 / 11, 0.3])
def test_drop_path_drops_at_its_rate_in_every_precision(dtype, rate):
    """0.1 / 11 is that of DINO's second block; bfloat16's own draws would drop 2 of 128."""
    layer, n = DropPath(rate, seed=0, dtype=dtype), 100_000
    out = layer(tf.ones((n, 1, 1), dtype), training=True)
    assert out.dtype == dtype
    kept = tf.boolean_mask(tf.cast(out, "float32"), out > 0).numpy()
    np.testing.assert_allclose(kept, 1 / (1 - rate), rtol=2**-8)
    dropped = 1 - len(kept) / n
    assert abs(dropped - rate) < 4 * np.sqrt(rate * (1 - rate) / n)


@pytest.mark.parametrize(
    ("size", "heads", "parameters"),
    # timm's counts without the classifier, for 16 px patches and 224 px images; its class token
    # has a position of its own, one width more than ours.
    [
        ("tiny", 3, 5_524_416),
        pytest.param("small", 6, 21_665_664, marks=pytest.mark.slow),
        pytest.param("base", 12, 85_798_656, marks=pytest.mark.slow),
    ],
)
def test_the_sizes_are_the_published_ones(size, heads, parameters):
    model = vision_transformer(size, 16)
    width = model.output_shape[-1]
    assert model.count_params() == parameters - width
    assert model.get_layer("block11_attention").num_heads == heads
    initial = model.get_layer("block3_mlp1").kernel
    assert np.std(initial) == pytest.approx(0.02, rel=0.02)


def test_the_initial_weights_of_moco_v3():
    keras.utils.set_random_seed(0)
    model = vision_transformer("micro", 16, positions="sincos", heads=4)
    limits = {
        "patch_projection/kernel": np.sqrt(6 / (3 * 16**2 + 64)),
        "block1_attention/value/kernel": np.sqrt(6 / (64 + 64)),
        "block1_attention/attention_output/kernel": np.sqrt(6 / (64 + 64)),
        "block1_mlp1/kernel": np.sqrt(6 / (64 + 256)),
    }
    weights = {weight.path: np.abs(weight).max() for weight in model.weights}
    for path, limit in limits.items():
        assert 0.98 * limit < weights[path] <= limit
    assert weights["patch_projection/bias"] == 0 and 0 < weights["class_token/token"] < 3e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "large"}, "size is 'large'; expected one of 'tiny', 'small', 'base'"),
        ({"positions": "sincs"}, 'Did you mean "sincos"'),
        ({"pool": "max"}, "pool is 'max'"),
        ({"heads": 5}, "heads is 5; expected a divisor of the width, 64"),
        ({"image_size": 8}, "expected at least a patch of 16 px"),
        ({"drop_path": 1.5}, "drop_path is 1.5"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(ValueError, match=message):
        vision_transformer(**{"size": "micro", "patch": 16, **arguments})


def test_the_class_token_begins_as_the_sum_of_dinos_token_and_its_position():
    keras.utils.set_random_seed(0)
    tokens = [
        np.ravel(vision_transformer("tiny", 16).get_layer("class_token").token) for _ in range(3)
    ]
    assert np.std(tokens) == pytest.approx(np.hypot(0.02, 0.02), rel=0.1)
