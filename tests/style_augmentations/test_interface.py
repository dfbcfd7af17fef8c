"""The interface that all style augmentations share with SASSLAugmentation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sassl_tf

SEED = tf.constant([3, 4])
IN_BATCH = {
    "fourier": sassl_tf.FourierStyle,
    "one_in_batch": lambda **kwargs: sassl_tf.FourierStyle("one_in_batch", **kwargs),
    "colors": sassl_tf.ColorStatistics,
    "lab": lambda **kwargs: sassl_tf.ColorStatistics(color_space="lab", **kwargs),
}
LAYERS = {**IN_BATCH, "random_style": sassl_tf.RandomStyle}
every_layer = pytest.mark.parametrize("name", LAYERS)
# RandomStyle is a SASSLAugmentation, whose own tests hold for it.
layers_without_a_network = pytest.mark.parametrize("name", IN_BATCH)


def images(count=6, height=20, width=28, dtype=np.uint8):
    draws = np.random.default_rng(0).integers(0, 256, (count, height, width, 3))
    return draws.astype(dtype)


def changed(before, after):
    return (np.asarray(before) != np.asarray(after)).any(axis=(1, 2, 3))


@every_layer
def test_draws_are_those_of_sassl(name):
    """Runs with different layers are paired: the same images are augmented, with the same α."""
    own = LAYERS[name](blending_factor=(0.1, 0.3))
    draws = own.get_random_transformation((100,), SEED)
    expected = sassl_tf.SASSLAugmentation().get_random_transformation((100,), SEED)
    for key in ("apply", "alpha", *(["style"] if name in IN_BATCH else [])):
        np.testing.assert_array_equal(draws[key], expected[key])


@layers_without_a_network
def test_dtypes_and_ranges(name):
    x = images(40, 8, 8)
    layer = LAYERS[name]()
    expected = layer(x, seed=SEED).numpy()
    apply = layer.get_random_transformation((40,), SEED)["apply"].numpy()
    assert not changed(x, expected)[~apply].any() and changed(x, expected)[apply].sum() > 25
    assert expected.dtype == np.uint8
    floats = LAYERS[name]()(x.astype(np.float16), seed=SEED)
    assert floats.dtype == tf.float16
    assert np.abs(floats.numpy() - expected.astype(np.float32)).max() < 0.63
    centred = LAYERS[name](value_range=(-1, 1))(x.astype(np.float32) / 127.5 - 1, seed=SEED)
    assert centred.numpy().min() >= -1 and centred.numpy().max() <= 1
    assert np.abs((centred.numpy() + 1) * 127.5 - expected).max() < 0.52


@pytest.mark.parametrize("name", ["fourier", "lab"])
def test_a_seed_is_the_same_everywhere(name):
    x = images()
    layer = LAYERS[name]()
    expected = layer(x, seed=SEED).numpy().astype(int)
    config = {**layer.get_config(), "static_shapes": True, "name": "static"}
    static = type(layer).from_config(config)
    signature = [tf.TensorSpec([None, None, None, 3], tf.uint8)]
    graph = tf.function(lambda x: layer(x, seed=SEED), input_signature=signature)
    runs = {
        "graph of unknown sizes": graph(x),
        "tf.data": next(iter(tf.data.Dataset.from_tensors(x).map(lambda x: layer(x, seed=SEED)))),
        "XLA": tf.function(lambda: static(tf.constant(x), seed=SEED), jit_compile=True)(),
    }
    for run, views in runs.items():
        assert np.abs(views.numpy().astype(int) - expected).max() <= 1, run


@layers_without_a_network
def test_a_seed_of_the_layer_and_map_with_seeds(name):
    x = images()
    runs = [[LAYERS[name](seed=seed)(x).numpy()] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert changed(runs[0][0], runs[2][0]).any()
    dataset = tf.data.Dataset.from_tensor_slices(images(12, 8, 8)).batch(3)
    augment = LAYERS[name]()
    first, second = (
        list(sassl_tf.map_with_seeds(dataset, augment, seed=5).as_numpy_iterator())
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@layers_without_a_network
def test_identity_to_the_bit(name):
    x = images(dtype=np.float32) * 3 - 100
    np.testing.assert_array_equal(LAYERS[name](probability=0)(x), x)
    np.testing.assert_array_equal(LAYERS[name]()(x, training=False), x)
    np.testing.assert_array_equal(LAYERS[name](blending_factor=0)(x), x)


@every_layer
def test_in_a_saved_model(name, tmp_path):
    layer = LAYERS[name](probability=0.5, seed=11, value_range=(0, 1))
    model = keras.Sequential([keras.Input((12, 12, 3)), layer, keras.layers.Flatten()])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = loaded.layers[0]
    assert type(again) is type(layer) and again.get_config() == layer.get_config()
    x = images(4, 12, 12).astype(np.float32) / 255
    np.testing.assert_array_equal(model(x, training=True), loaded(x, training=True))
    np.testing.assert_array_equal(model(x, training=False), x.reshape(4, -1))


@layers_without_a_network
def test_a_nan_stays_in_its_image(name):
    for static_shapes in (False, True):
        layer = LAYERS[name](probability=1, static_shapes=static_shapes)
        x = images(dtype=np.float32)
        x[2, 5, 5, 1] = np.nan
        for seed in ([3, 4], [5, 6], [7, 8]):
            broken = np.isnan(layer(x, seed=seed).numpy()).any(axis=(1, 2, 3))
            assert broken.tolist() == [i == 2 for i in range(6)]


def test_in_a_view():
    """The layer stands between the flip and the jitter, where SASSL does."""
    augment = sassl_tf.FourierStyle(value_range=(0, 1), probability=1)
    crops = images(4, 16, 16).astype(np.float32) / 255
    view = sassl_tf.views.View(sassl="before_jitter", flip_probability=0)
    draws = [
        sassl_tf.views.draw_view(view, (16, 16, 3), seed=[3, i], augment=augment) for i in range(4)
    ]
    draws = tf.nest.map_structure(lambda *rows: tf.stack(rows), *draws)
    finish = sassl_tf.views.finish_views
    styled = augment.transform_images(crops, draws["sassl"])
    expected = finish(styled, draws, view, static_shapes=True)
    actual = finish(crops, draws, view, augment, static_shapes=True)
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert changed(expected, finish(crops, draws, view, static_shapes=True)).any()


@pytest.mark.slow
@every_layer
def test_in_two_views(name):
    views = sassl_tf.TwoViews("simclr", size=16, augment=LAYERS[name](value_range=(0, 1)))
    plain = sassl_tf.TwoViews("simclr", size=16)
    x = images()
    pair, without = views(x, seed=SEED), plain(x, seed=SEED)
    np.testing.assert_array_equal(pair["right"], without["right"])
    assert changed(pair["left"], without["left"]).any()
    again = sassl_tf.TwoViews.from_config(views.get_config())
    np.testing.assert_array_equal(again(x, seed=SEED)["left"], pair["left"])


@layers_without_a_network
def test_styles_of_a_batch_need_a_batch(name):
    layer = LAYERS[name]()
    for x in (images(1), images()[0]):
        with pytest.raises(ValueError, match="at least two images a call: batch the dataset"):
            layer(x)
