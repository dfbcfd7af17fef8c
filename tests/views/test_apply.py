"""Views made of images and draws."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from sassl_tf.views import (
    View,
    byol_recipe,
    crop_view,
    draw_view,
    finish_views,
    moco_v2_recipe,
    simclr_recipe,
)
from tests.views.helpers import (
    FakeAugment,
    draw_many,
    nothing,
    random_images,
    take,
)


def squares(batch, size=20):
    return random_images(batch, size, size)


def test_crop_view_follows_the_box():
    image = (squares(1, 60)[0] * 255).astype(np.uint8)
    cropped = crop_view(image, {"crop": tf.constant([3, 5, 20, 20])}, 20)
    np.testing.assert_array_equal(cropped, image[3:23, 5:25])


def test_a_batch_has_as_many_views_as_images():
    config = View()
    images = np.repeat(squares(1), 16, axis=0)
    finished = finish_views(images, draw_many(config, 16), config).numpy()
    assert len(np.unique(finished.reshape(16, -1), axis=0)) >= 15  # an image may stay as it was
    assert finished.min() >= 0 and finished.max() <= 1


def test_a_view_does_not_depend_on_its_batch():
    config = dataclasses.replace(byol_recipe().right, sassl="before_jitter")
    images, draws = squares(8), draw_many(config, 8, FakeAugment())
    together = finish_views(images, draws, config, FakeAugment())
    rows = [7, 3, 2]
    some = finish_views(images[rows], take(draws, rows), config, FakeAugment())
    np.testing.assert_allclose(some, together.numpy()[rows], atol=1e-6)


# Each recipe's law; the other sides differ in probabilities alone, and BYOL's also solarizes.
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(simclr_recipe().left, marks=pytest.mark.slow),
        pytest.param(moco_v2_recipe().left, marks=pytest.mark.slow),
        byol_recipe().right,
    ],
)
def test_static_shapes_give_the_same_views_under_xla(config):
    """As an accelerator makes them, from the draws that the host would have used."""
    images, draws = squares(8, 40), draw_many(config, 8, FakeAugment())
    expected = finish_views(images, draws, config, FakeAugment())

    @tf.function(jit_compile=True, autograph=False)
    def compiled(images, draws):
        return finish_views(images, draws, config, FakeAugment(), static_shapes=True)

    np.testing.assert_allclose(compiled(tf.constant(images), draws), expected, atol=2e-5)


def test_nothing_is_nothing():
    images, config = squares(4), nothing()
    np.testing.assert_array_equal(finish_views(images, draw_many(config, 4), config), images)
    bytes_ = (images * 255).astype(np.uint8)
    finished = finish_views(bytes_, draw_many(config, 4), config)
    np.testing.assert_allclose(finished, bytes_ / 255, atol=1e-6)


@pytest.mark.parametrize("position", ["before_jitter", "after_all"])
def test_position_of_sassl(position):
    """Solarization tells the two positions apart: it inverts what came before it."""
    config = nothing(solarize_probability=1.0, sassl=position)
    images = np.full((3, 10, 10, 3), 0.75, np.float32)
    draws = draw_many(config, 3, FakeAugment())
    draws["sassl"]["offset"] = np.float32([0.0, 0.1, 0.2])
    pixel = finish_views(images, draws, config, FakeAugment())[:, 0, 0, 0]
    sign = -1 if position == "before_jitter" else 1
    np.testing.assert_allclose(pixel, 0.25 + sign * np.float32([0, 0.1, 0.2]), atol=1e-6)


def test_sassl_comes_after_the_flip():
    seen = []

    class Spy(FakeAugment):
        def transform_images(self, images, transformation):
            seen.append(images)
            return images

    config = nothing(flip_probability=1.0, sassl="before_jitter")
    images = squares(2)
    finish_views(images, draw_many(config, 2, Spy()), config, Spy())
    np.testing.assert_array_equal(seen[0], images[:, :, ::-1])


@pytest.mark.parametrize("position", ["before_jitter", "after_all"])
def test_the_layer_gets_images_in_its_own_range(position):
    class Inverting(FakeAugment):
        value_range = (-10, 30)

        def transform_images(self, images, transformation):
            return 20 - images  # the range's lowest value for its highest

    config, images = nothing(sassl=position), squares(2)
    views = finish_views(images, draw_many(config, 2, Inverting()), config, Inverting())
    np.testing.assert_allclose(views, 1 - images, atol=1e-6)


def test_pipeline_of_images_of_different_sizes():
    config = View(sassl="before_jitter")
    sizes = [(30, 40), (64, 25), (20, 20), (50, 80)]

    def pixels():
        yield from (np.full((*size, 3), 128, np.uint8) for size in sizes)

    dataset = tf.data.Dataset.from_generator(
        pixels, output_signature=tf.TensorSpec([None, None, 3], tf.uint8)
    )

    def start(index, image):
        seed = tf.stack([0, tf.cast(index, tf.int32)])
        draws = draw_view(config, tf.shape(image), seed, FakeAugment())
        return crop_view(image, draws, 16), draws

    dataset = dataset.enumerate().map(start).batch(3)
    dataset = dataset.map(lambda *batch: finish_views(*batch, config, FakeAugment()))
    assert dataset.element_spec.shape.as_list() == [None, 16, 16, 3]
    assert [len(batch) for batch in dataset] == [3, 1]


def test_nan_stays_in_its_view():
    config, images = byol_recipe().right, squares(8)
    draws = draw_many(config, 8)
    clean = finish_views(images, draws, config).numpy()
    images[4] = np.nan
    broken = finish_views(images, draws, config).numpy()
    np.testing.assert_allclose(np.delete(broken, 4, 0), np.delete(clean, 4, 0), atol=1e-6)
    assert np.isnan(broken[4]).any()
