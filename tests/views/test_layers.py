"""The Keras layers: the operations given the draws, and the habits that all of them share."""

import itertools

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import sassl_tf
from sassl_tf import views
from tests.views.helpers import random_images

SEED = tf.constant([3, 4])
LAYERS = {
    "jitter": lambda **k: views.RandomColorJitter(**{"probability": 0.5} | k),
    "grayscale": lambda **k: views.RandomGrayscale(**{"probability": 0.5} | k),
    "blur": lambda **k: views.RandomGaussianBlur(**{"kernel_size": 5} | k),
    "solarization": lambda **k: views.RandomSolarization(**{"probability": 0.5} | k),
    "flip": lambda **k: views.RandomFlip(**k),
    "crop": lambda **k: views.RandomResizedCrop(8, 10, **k),
}
OF_VALUES = [name for name in LAYERS if name not in ("flip", "crop")]


def bytes_(count=6):
    return (random_images(count, 20, 24) * 255).astype(np.uint8)


def draws_of(layer, images):
    shape = images.shape if isinstance(layer, views.RandomResizedCrop) else (len(images),)
    draws = layer.get_random_transformation(shape, SEED)
    return {name: value.numpy() for name, value in draws.items()}


def expected_values(name, images, draws):
    """The functional operation on every image, float32 in [0, 1]."""
    if name == "jitter":
        factors = (draws[f] for f in ("order", "brightness", "contrast", "saturation", "hue"))
        return views.color_jitter(images, *factors)
    if name == "grayscale":
        return views.grayscale(images)
    if name == "blur":
        return views.gaussian_blur(images, draws["sigma"], 5)
    return views.solarize(images)


@pytest.mark.parametrize("static_shapes", [False, True])
@pytest.mark.parametrize("name", OF_VALUES)
def test_layers_are_the_operations_given_the_draws(name, static_shapes):
    images = random_images(6, 20, 24)
    layer = LAYERS[name](value_range=(0, 1), static_shapes=static_shapes)
    draws, result = draws_of(layer, images), layer(images, seed=SEED).numpy()
    assert 0 < draws["apply"].sum() < 6
    expected = np.where(
        draws["apply"][:, None, None, None], expected_values(name, images, draws), images
    )
    np.testing.assert_allclose(result, expected, atol=1e-6)
    np.testing.assert_array_equal(result[~draws["apply"]], images[~draws["apply"]])  # to the bit


@pytest.mark.parametrize("mode", ["horizontal", "vertical", "horizontal_and_vertical"])
def test_flip(mode):
    layer, images = views.RandomFlip(mode), bytes_(16)
    draws, result = draws_of(layer, images), layer(images, seed=SEED)
    for image, across, down, flipped in zip(
        images, draws["horizontal"], draws["vertical"], result, strict=True
    ):
        expected = image[:, ::-1] if across else image
        np.testing.assert_array_equal(flipped, expected[::-1] if down else expected)
    assert draws["horizontal"].any() == ("horizontal" in mode)
    assert draws["vertical"].any() == ("vertical" in mode)


@pytest.mark.parametrize("law", ["tensorflow", "torchvision", "byol"])
def test_crop_is_the_operation_given_the_boxes(law):
    layer, images = views.RandomResizedCrop(8, 10, (0.2, 0.9), law=law), bytes_()
    boxes, result = draws_of(layer, images)["box"], layer(images, seed=SEED)
    assert result.dtype == tf.uint8 and len(np.unique(boxes, axis=0)) == 6
    for image, box, crop in zip(images, boxes, result, strict=True):
        np.testing.assert_array_equal(crop, views.crop_and_resize(image, box, (8, 10)))
    floats = views.RandomResizedCrop(8, 10, (0.2, 0.9), law=law, value_range=(0, 1))
    np.testing.assert_allclose(
        floats(np.float32(images / 255), seed=SEED), result.numpy() / 255, atol=0.51 / 255
    )


def test_crop_in_inference_is_the_centre():
    image = bytes_(1)[0]  # 20×24; the largest box of 1:1 is 20×20
    square = views.RandomResizedCrop(20, 20)(image, training=False)
    np.testing.assert_array_equal(square, image[:, 2:22])
    flat = views.RandomResizedCrop(6, 12)(image[None], training=False)  # a box of 12×24
    np.testing.assert_array_equal(flat[0], views.crop_and_resize(image, [4, 0, 12, 24], (6, 12)))


def test_draws_are_each_images_own_and_uniform():
    layer = views.RandomColorJitter()
    draws = {k: v.numpy() for k, v in layer.get_random_transformation((4000,), SEED).items()}
    ranges = dict.fromkeys(("brightness", "contrast", "saturation"), (0.2, 1.6))
    for name, (low, width) in {**ranges, "hue": (-0.2, 0.4)}.items():
        assert scipy.stats.kstest(draws[name], scipy.stats.uniform(low, width).cdf).pvalue > 1e-3
    assert scipy.stats.binomtest(int(draws["apply"].sum()), 4000, 0.8).pvalue > 1e-3
    orders, counts = np.unique(draws["order"], axis=0, return_counts=True)
    assert len(orders) == 24 and scipy.stats.chisquare(counts).pvalue > 1e-3
    scalars = np.stack([x.astype(float) for x in draws.values() if x.ndim == 1])
    assert np.abs(np.corrcoef(scalars) - np.eye(len(scalars))).max() < 4.5 / np.sqrt(4000)
    sigmas = views.RandomGaussianBlur().get_random_transformation((4000,), SEED)["sigma"]
    assert scipy.stats.kstest(sigmas, scipy.stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3


def test_layers_under_one_seed_draw_independently():
    layers = [
        views.RandomFlip(),
        views.RandomColorJitter(),
        views.RandomGrayscale(),
        views.RandomGaussianBlur(),
        views.RandomSolarization(),
    ]
    draws = [layer.get_random_transformation((4000,), SEED) for layer in layers]
    boxes = tf.function(views.RandomResizedCrop(8, 8).get_random_transformation)  # a loop
    draws += [boxes((4000, 40, 40, 3), SEED)]
    numbers = [
        np.concatenate([x.numpy().reshape(4000, -1) for x in one.values()], axis=1, dtype=float)
        for one in draws
    ]
    numbers = [columns[:, columns.std(axis=0) > 0] for columns in numbers]
    for first, second in itertools.combinations(numbers, 2):
        both = np.corrcoef(first.T, second.T)[: first.shape[1], first.shape[1] :]
        assert np.abs(both).max() < 4.5 / np.sqrt(4000)


@pytest.mark.parametrize("name", LAYERS)
def test_form_dtype_and_seeds(name):
    layer, images = LAYERS[name](seed=0), bytes_()
    size = (8, 10) if name == "crop" else (20, 24)
    result = layer(images)
    assert result.dtype == tf.uint8 and result.shape == (6, *size, 3)
    single = layer(images[0].astype(np.float32))
    assert single.dtype == tf.float32 and single.shape == (*size, 3)
    assert (layer(images).numpy() != result.numpy()).any()  # another call, other draws
    np.testing.assert_array_equal(LAYERS[name](seed=0)(images), result)
    np.testing.assert_array_equal(layer(images, seed=SEED), LAYERS[name](seed=1)(images, seed=SEED))
    both = layer({"images": images, "labels": np.arange(6)}, seed=SEED)
    np.testing.assert_array_equal(both["images"], layer(images, seed=SEED))
    np.testing.assert_array_equal(both["labels"], np.arange(6))
    if name != "crop":
        np.testing.assert_array_equal(layer(images, training=False), images)


@pytest.mark.parametrize("name", LAYERS)
def test_in_pipelines_and_saved_models(name, tmp_path):
    layer, images = LAYERS[name](seed=7), bytes_()
    dataset = tf.data.Dataset.from_tensor_slices(images)
    batched = sassl_tf.map_with_seeds(dataset.batch(6), layer, seed=0)
    assert batched.element_spec.dtype == tf.uint8
    first = next(iter(batched))
    assert first.shape == layer.compute_output_shape((6, 20, 24, 3))
    sizes = next(iter(dataset.map(layer, num_parallel_calls=2)))  # unbatched
    assert sizes.shape == first.shape[1:]

    model = keras.Sequential([keras.Input((20, 24, 3), dtype="uint8"), layer])
    assert model.output_shape == (None, *first.shape[1:])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[-1]
    assert type(loaded) is type(layer) and loaded.get_config() == layer.get_config()
    np.testing.assert_array_equal(loaded(images, seed=SEED), layer(images, seed=SEED))


@pytest.mark.parametrize("name", [*OF_VALUES, "flip"])
def test_xla_compiles_static_shapes_with_the_same_draws(name):
    layer, images = LAYERS[name](static_shapes=True), tf.constant(bytes_(4))
    compiled = tf.function(lambda x, s: layer(x, seed=s), jit_compile=True, autograph=False)
    difference = np.abs(
        compiled(images, SEED).numpy().astype(int) - layer(images, seed=SEED).numpy().astype(int)
    )
    assert difference.max() <= 1


def test_the_default_kernel_is_a_tenth_of_the_shorter_side():
    images = random_images(2, 55, 70)
    layer = views.RandomGaussianBlur(probability=1, sigma=2, value_range=(0, 1))
    expected = views.gaussian_blur(images, np.float32([2, 2]), 5)
    np.testing.assert_allclose(layer(images), expected, atol=1e-6)
    unknown = tf.function(layer, [tf.TensorSpec([None, None, None, 3])], autograph=False)
    np.testing.assert_allclose(unknown(images), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "arguments", "told"),
    [
        (views.RandomColorJitter, {"hue_factor": 0.7}, r"hue_factor is 0.7; .* in \[0, 0.5\]"),
        (views.RandomColorJitter, {"contrast_factor": -1}, "contrast_factor is -1; .*at least 0"),
        (views.RandomColorJitter, {"law": "torch"}, 'law is .*Did you mean "torchvision"'),
        (views.RandomGrayscale, {"probability": 1.2}, "probability is 1.2"),
        (views.RandomGaussianBlur, {"kernel_size": 4}, "kernel_size is 4; .*odd"),
        (views.RandomGaussianBlur, {"sigma": (0, 1)}, "sigma is .*0 < lowest"),
        (views.RandomSolarization, {"threshold_factor": 128}, "threshold_factor is 128"),
        (views.RandomSolarization, {"value_range": (1, 0)}, "value_range is"),
        (views.RandomFlip, {"mode": "both"}, "mode is 'both'; expected one of 'horizontal'"),
        (views.RandomResizedCrop, {"height": 0, "width": 8}, "height is 0; .*at least 1 px"),
        (views.RandomResizedCrop, {"height": 8, "width": 8.5}, "width is 8.5"),
        (
            views.RandomResizedCrop,
            {"height": 8, "width": 8, "crop_area_factor": (0.5, 2)},
            "crop_area_factor is .*<= 1",
        ),
    ],
)
def test_bad_arguments_are_errors(layer, arguments, told):
    with pytest.raises(ValueError, match=told):
        layer(**arguments)


@pytest.mark.parametrize("name", ["flip", "crop"])
def test_what_would_be_left_behind_is_an_error(name):
    with pytest.raises(ValueError, match=r"moves pixels, .*\['bounding_boxes'\]"):
        LAYERS[name]()({"images": bytes_(), "bounding_boxes": np.zeros((6, 1, 4))})
    with pytest.raises(ValueError, match="TwoViews moves pixels"):
        sassl_tf.TwoViews("simclr", 8)({"images": bytes_(), "bounding_boxes": [[0, 0, 1, 1]]})


def test_images_of_another_form_are_errors():
    with pytest.raises(ValueError, match="expected \\[H, W, 3\\]"):
        views.RandomGrayscale()(np.zeros((2, 8, 8, 1), np.uint8))
    with pytest.raises(ValueError, match="RandomGrayscale got a second positional input"):
        views.RandomGrayscale()(bytes_(), np.arange(6))
