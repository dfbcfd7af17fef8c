"""TwoViews: the views of the trainers, as a layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sassl_tf
from sassl_tf import TwoViews
from sassl_tf.views import (
    MultiCropRecipe,
    Recipe,
    View,
    crop_view,
    dino_recipe,
    draw_view,
    finish_views,
    simclr_recipe,
)
from sassl_tf.views.draws import image_seeds
from tests.stylizers.tiny import tiny_bank, tiny_stylizer
from tests.views.helpers import FakeAugment, random_images

SEED = tf.constant([3, 4])
ONLY_SMALL_ONES = MultiCropRecipe(View(), View(), View(sassl="before_jitter"))


def tiny_layer(**arguments):
    return sassl_tf.SASSLAugmentation(tiny_stylizer(), tiny_bank(), **arguments)


def bytes_(count=4):
    return (random_images(count, 40, 48) * 255).astype(np.uint8)


def by_hand(images, recipe, size, augment=None):
    """Each view as the trainers' pipeline makes it."""
    sides = {}
    for salt, side in enumerate(("left", "right")):
        view, crops, all_draws = getattr(recipe, side), [], []
        for image, seed in zip(images, image_seeds(SEED, len(images)), strict=True):
            draws = draw_view(view, image.shape, tf.random.fold_in(seed, salt), augment)
            crops.append(crop_view(image, draws, size))
            all_draws.append(draws)
        draws = tf.nest.map_structure(lambda *x: tf.stack(x), *all_draws)
        sides[side] = finish_views(tf.stack(crops), draws, view, augment).numpy()
    return sides


def test_views_are_those_of_the_trainers():
    augment, images = tiny_layer(precision="float32"), bytes_()
    made = TwoViews("simclr", 32, augment)(images, seed=SEED)
    expected = by_hand(images, simclr_recipe(), 32, augment)
    assert sorted(made) == ["left", "right"]
    for side, view in made.items():
        assert view.dtype == tf.uint8 and view.shape == (4, 32, 32, 3)
        np.testing.assert_allclose(view, expected[side] * 255, atol=0.51)
    plain = TwoViews("simclr", 32)(images, seed=SEED)
    np.testing.assert_array_equal(plain["right"], made["right"])
    assert (plain["left"].numpy() != made["left"].numpy()).any()


@pytest.mark.parametrize("recipe", [pytest.param("moco_v2", marks=pytest.mark.slow), "byol"])
def test_float_images_of_other_ranges(recipe):
    images = random_images(3, 40, 48)
    unit = TwoViews(recipe, 16, value_range=(0, 1))(images, seed=SEED)
    wide = TwoViews(recipe, 16, value_range=(-1, 1))(images * 2 - 1, seed=SEED)
    for side in ("left", "right"):
        assert unit[side].dtype == tf.float32
        np.testing.assert_allclose(wide[side], unit[side] * 2 - 1, atol=1e-4)


def test_in_a_pipeline_with_labels_and_seeds():
    layer = TwoViews("simclr", 16)
    images = tf.data.Dataset.from_tensor_slices({"images": bytes_(8), "labels": np.arange(8)})
    batches = sassl_tf.map_with_seeds(images.batch(4), layer, seed=0)
    assert batches.element_spec["left"].shape.as_list() == [None, 16, 16, 3]
    first, second = batches.as_numpy_iterator()
    again, _ = sassl_tf.map_with_seeds(images.batch(4), layer, seed=0).as_numpy_iterator()
    np.testing.assert_array_equal(first["labels"], np.arange(4))
    np.testing.assert_array_equal(first["left"], again["left"])
    assert (first["left"] != first["right"]).any() and (first["left"] != second["left"]).any()


def test_images_of_different_sizes_one_by_one():
    sizes = [(30, 40), (64, 25), (20, 20)]
    dataset = tf.data.Dataset.from_generator(
        lambda: (np.full((*size, 3), 128, np.uint8) for size in sizes),
        output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
    )
    views = sassl_tf.map_with_seeds(dataset, TwoViews("byol", 16), seed=0).batch(3)
    batch = next(iter(views))
    assert batch["left"].shape == batch["right"].shape == (3, 16, 16, 3)


def test_seeds_of_the_layer():
    images = bytes_(2)
    one, other = TwoViews("simclr", 16, seed=0), TwoViews("simclr", 16, seed=0)
    first = one(images)["left"].numpy()
    np.testing.assert_array_equal(first, other(images)["left"])
    assert (one(images)["left"].numpy() != first).any()


def test_inside_a_model_and_a_saved_one(tmp_path):
    own = Recipe(View(blur_probability=0, sassl="before_jitter"), View(sassl="after_all"))
    layer = TwoViews(own, 32, tiny_layer(seed=1), seed=2)
    inputs = keras.Input((40, 48, 3), dtype="uint8")
    model = keras.Model(inputs, layer(inputs))
    assert all(output.shape == (None, 32, 32, 3) for output in model.outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[-1]
    assert loaded.recipe == own and loaded.size == 32 and loaded.seed == 2
    views, again = layer(bytes_(2), seed=SEED), loaded(bytes_(2), seed=SEED)
    for side, view in views.items():
        np.testing.assert_array_equal(view, again[side])


def test_no_images_at_all():
    layer = TwoViews("simclr", 16)
    empty = np.zeros((0, 24, 24, 3), np.uint8)
    dataset = tf.data.Dataset.from_tensor_slices(bytes_(2)).batch(2).filter(lambda _: True)
    dataset = dataset.map(lambda images: layer(images[:0], seed=SEED))
    for views in (layer(empty, seed=SEED), next(iter(dataset))):
        assert views["left"].shape == views["right"].shape == (0, 16, 16, 3)


def test_small_crops():
    images, layer = bytes_(3), TwoViews("dino", 16, local_crops=2, local_size=8)
    views = layer(images, seed=SEED)
    assert views["local"].shape == (3, 2, 8, 8, 3) and views["local"].dtype == tf.uint8
    assert layer.compute_output_shape((40, 48, 3))["local"] == (2, 8, 8, 3)
    alone = TwoViews("dino", 16)(images, seed=SEED)
    assert sorted(alone) == ["left", "right"]
    for side, view in alone.items():
        np.testing.assert_array_equal(view, views[side])
    # The second one as the trainers make it.
    recipe, seeds = dino_recipe(), image_seeds(SEED, 3)
    draws = draw_view(recipe.local, images[0].shape, tf.random.fold_in(seeds[0], 3))
    crop = crop_view(images[0], draws, 8)
    batch = tf.nest.map_structure(lambda x: x[None], (crop, draws))
    expected = finish_views(*batch, recipe.local)[0]
    np.testing.assert_allclose(views["local"][0, 1], 255 * expected, atol=0.51)
    again = TwoViews.from_config(layer.get_config())
    assert again.recipe == recipe and (again.local_crops, again.local_size) == (2, 8)


def test_damaged_configs_are_errors():
    config = TwoViews("simclr", 16).get_config()
    for damage, told in (
        ({"recipe": "simclr"}, "recipe is a str"),
        ({"recipe": {"left": {}, "middle": {}}}, "recipe of a TwoViews is damaged"),
        ({"recipe": {"left": {"hue": 2}, "right": {}}}, "hue is 2"),
    ):
        with pytest.raises(ValueError, match=told):
            TwoViews.from_config({**config, **damage})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("simclr2", 16), 'Did you mean "simclr"'),
        (("simclr", 0), "size is 0"),
        (("simclr", "16"), "size is '16'"),
        (("simclr", 16, keras.layers.Identity()), "expected a SASSLAugmentation"),
        ((Recipe(View(), View()), 16, FakeAugment()), "no view that is made is stylized"),
        ((ONLY_SMALL_ONES, 16, FakeAugment()), "no view that is made is stylized"),
        (("byol", 16, None, (0, 255), None, 2), "the recipe has no view for small crops"),
        (("dino", 16, None, (0, 255), None, -1), "local_crops is -1"),
    ],
)
def test_bad_arguments_are_errors(arguments, told):
    with pytest.raises(ValueError, match=told):
        TwoViews(*arguments)


def test_entries_with_the_names_of_views_are_refused():
    inputs = {"images": bytes_(2), "left": np.arange(2), "local": np.arange(2)}
    with pytest.raises(ValueError, match="have left beside the images"):
        TwoViews("simclr", 16)(inputs)
    with pytest.raises(ValueError, match="have left, local beside the images"):
        TwoViews("dino", 16, local_crops=1, local_size=8)(inputs)
