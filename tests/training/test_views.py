"""Views: what the draws depend on, how they are distributed, and how they are applied."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from training import views

SHAPE = (40, 50, 3)


class FakeAugment:
    """Adds a drawn offset; the two methods of the SASSL layer that views use."""

    value_range = (0, 1)

    def get_random_transformation(self, shape=(), seed=None):
        return {"offset": tf.random.stateless_uniform(shape, seed)}

    def transform_images(self, images, transformation):
        return images + transformation["offset"][:, None, None, None]


def nothing(**overrides):
    """A view in which no operation is applied but the crop."""
    names = ("flip", "jitter", "grayscale", "blur", "solarize")
    return views.view_config(**{f"{name}_probability": 0.0 for name in names} | overrides)


def draw_many(config, count, augment=None, first=0, parallel=None):
    """The draws of `count` images with seeds [3, first], [3, first + 1], ..., as numpy arrays."""
    dataset = tf.data.Dataset.range(first, first + count)
    dataset = dataset.map(
        lambda i: views.draw_view(config, SHAPE, tf.stack([3, tf.cast(i, tf.int32)]), augment),
        num_parallel_calls=parallel,
    )
    return next(iter(dataset.batch(count).as_numpy_iterator()))


def random_images(batch, size=20):
    return np.random.default_rng(0).uniform(size=(batch, size, size, 3)).astype(np.float32)


def assert_nests_equal(left, right):
    tf.nest.map_structure(np.testing.assert_array_equal, left, right)


def take(draws, index):
    return tf.nest.map_structure(lambda array: array[index], draws)


def test_draws_depend_on_the_seed_alone():
    config = views.view_config(sassl="before_jitter")
    all_draws = draw_many(config, 12, FakeAugment(), parallel=tf.data.AUTOTUNE)
    assert_nests_equal(take(all_draws, slice(5, 9)), draw_many(config, 4, FakeAugment(), first=5))
    alone = views.draw_view(config, SHAPE, tf.constant([3, 7]), FakeAugment())
    assert_nests_equal(take(all_draws, 7), tf.nest.map_structure(lambda t: t.numpy(), alone))


@pytest.fixture(scope="module")
def many():
    config = views.view_config(solarize_probability=0.3)
    return config, draw_many(config, 2000)


def test_apply_rates(many):
    config, draws = many
    for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
        test = scipy.stats.binomtest(int(draws[name].sum()), 2000, config[f"{name}_probability"])
        assert test.pvalue > 1e-3, name


def test_factors_are_uniform(many):
    _, draws = many
    ranges = {
        "brightness": (0.2, 1.8),
        "contrast": (0.2, 1.8),
        "saturation": (0.2, 1.8),
        "hue": (-0.2, 0.2),
        "sigma": (0.1, 2.0),
    }
    for name, (low, high) in ranges.items():
        uniform = scipy.stats.uniform(low, high - low)
        assert scipy.stats.kstest(draws[name], uniform.cdf).pvalue > 1e-3, name


def test_operations_draw_independently(many):
    _, draws = many
    scalars = [array for array in draws.values() if array.ndim == 1]
    correlation = np.corrcoef(np.stack(scalars).astype(float)) - np.eye(len(scalars))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(2000)


def test_every_order_is_equally_likely(many):
    _, draws = many
    orders, counts = np.unique(draws["order"], axis=0, return_counts=True)
    assert len(orders) == 24 and draws["order"].dtype == np.int32
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_crops_are_in_range_and_vary(many):
    _, draws = many
    share = draws["crop"][:, 2] * draws["crop"][:, 3] / (SHAPE[0] * SHAPE[1])
    assert share.min() > 0.07 and share.max() <= 1
    assert len(np.unique(draws["crop"], axis=0)) > 1900


def test_strength_above_one_does_not_turn_factors_negative():
    config = views.simclr_views(strength=2.0).left
    assert config.brightness == 1.6
    assert draw_many(config, 200)["contrast"].min() >= 0


@pytest.mark.parametrize("position", ["before_jitter", "after_all"])
def test_sassl_changes_no_other_draw(position):
    without = draw_many(views.view_config(), 8)
    draws = draw_many(views.view_config(sassl=position), 8, FakeAugment())
    offsets = draws.pop("sassl")["offset"]
    assert_nests_equal(draws, without)
    assert len(np.unique(offsets)) == 8


def test_operations_switched_off_change_no_other_draw():
    draws, fewer = draw_many(views.view_config(), 8), draw_many(nothing(), 8)
    for name in ("crop", "order", "brightness", "contrast", "saturation", "hue", "sigma"):
        np.testing.assert_array_equal(draws[name], fewer[name])


def test_crop_view_follows_the_box():
    image = (random_images(1, 60)[0] * 255).astype(np.uint8)
    cropped = views.crop_view(image, {"crop": tf.constant([3, 5, 20, 20])}, 20)
    np.testing.assert_array_equal(cropped, image[3:23, 5:25])


def test_a_batch_has_as_many_views_as_images():
    config = views.view_config()
    images = np.repeat(random_images(1), 16, axis=0)
    finished = views.finish_views(images, draw_many(config, 16), config).numpy()
    assert len(np.unique(finished.reshape(16, -1), axis=0)) >= 15  # an image may stay as it was
    assert finished.min() >= 0 and finished.max() <= 1


def test_a_view_does_not_depend_on_its_batch():
    config = views.byol_views().right
    config.sassl = "before_jitter"
    images, draws = random_images(8), draw_many(config, 8, FakeAugment())
    together = views.finish_views(images, draws, config, FakeAugment())
    for rows in ([2], [7, 3, 2]):
        some = views.finish_views(images[rows], take(draws, rows), config, FakeAugment())
        np.testing.assert_allclose(some, together.numpy()[rows], atol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pair", [views.simclr_views(), views.moco_v2_views(), views.byol_views()])
def test_static_shapes_give_the_same_views_under_xla(pair, side):
    """As an accelerator makes them, from the draws that the host would have used."""
    config = pair[side]
    images, draws = random_images(8, 40), draw_many(config, 8, FakeAugment())
    expected = views.finish_views(images, draws, config, FakeAugment())

    @tf.function(jit_compile=True, autograph=False)
    def compiled(images, draws):
        return views.finish_views(images, draws, config, FakeAugment(), static_shapes=True)

    np.testing.assert_allclose(compiled(tf.constant(images), draws), expected, atol=2e-5)


def test_nan_stays_in_its_view():
    config, images = views.byol_views().right, random_images(8)
    draws = draw_many(config, 8)
    clean = views.finish_views(images, draws, config).numpy()
    images[4] = np.nan
    broken = views.finish_views(images, draws, config).numpy()
    np.testing.assert_allclose(np.delete(broken, 4, 0), np.delete(clean, 4, 0), atol=1e-6)
    assert np.isnan(broken[4]).any()


def test_nothing_is_nothing():
    images, config = random_images(4), nothing()
    np.testing.assert_array_equal(views.finish_views(images, draw_many(config, 4), config), images)
    bytes_ = (images * 255).astype(np.uint8)
    finished = views.finish_views(bytes_, draw_many(config, 4), config)
    np.testing.assert_allclose(finished, bytes_ / 255, atol=1e-6)


@pytest.mark.parametrize("position", ["before_jitter", "after_all"])
def test_position_of_sassl(position):
    """Solarization tells the two positions apart: it inverts what came before it."""
    config = nothing(solarize_probability=1.0, sassl=position)
    images = np.full((3, 10, 10, 3), 0.75, np.float32)
    draws = draw_many(config, 3, FakeAugment())
    draws["sassl"]["offset"] = np.float32([0.0, 0.1, 0.2])
    pixel = views.finish_views(images, draws, config, FakeAugment())[:, 0, 0, 0]
    sign = -1 if position == "before_jitter" else 1
    np.testing.assert_allclose(pixel, 0.25 + sign * np.float32([0, 0.1, 0.2]), atol=1e-6)


def test_sassl_comes_after_the_flip():
    seen = []

    class Spy(FakeAugment):
        def transform_images(self, images, transformation):
            seen.append(images)
            return images

    config = nothing(flip_probability=1.0, sassl="before_jitter")
    images = random_images(2)
    views.finish_views(images, draw_many(config, 2, Spy()), config, Spy())
    np.testing.assert_array_equal(seen[0], images[:, :, ::-1])


def test_sassl_mistakes_are_errors():
    seed = tf.constant([0, 1])
    with pytest.raises(ValueError, match="somewhere"):
        views.draw_view(views.view_config(sassl="somewhere"), SHAPE, seed, FakeAugment())
    bytes_layer = FakeAugment()
    bytes_layer.value_range = (0, 255)
    with pytest.raises(ValueError, match="value_range"):
        views.draw_view(views.view_config(sassl="before_jitter"), SHAPE, seed, bytes_layer)


def test_unknown_laws_are_errors():
    with pytest.raises(ValueError, match="'tensorflow', 'torchvision'"):
        views.draw_view(views.view_config(crop_sampler="keras"), SHAPE, tf.constant([0, 1]))
    with pytest.raises(ValueError, match="'simclr', 'byol', 'torchvision'"):
        views.draw_view(views.view_config(jitter_law="moco"), SHAPE, tf.constant([0, 1]))


def test_configurations():
    with pytest.raises(KeyError):
        views.view_config(blur_probabilty=1.0)
    assert views.simclr_views().right == views.view_config()
    assert views.simclr_views().left == views.view_config(sassl="before_jitter")
    cifar = views.simclr_views(strength=0.5, blur_probability=0.0).left
    assert (cifar.brightness, cifar.hue, cifar.blur_probability) == (0.4, 0.1, 0.0)
    assert views.moco_v2_views().left.crop_area == (0.2, 1.0)
    byol = views.byol_views()
    assert (byol.left.blur_probability, byol.right.blur_probability) == (1.0, 0.1)
    assert (byol.left.solarize_probability, byol.right.solarize_probability) == (0.0, 0.2)
    assert byol.left.saturation == 0.2


def test_pipeline_of_images_of_different_sizes():
    config = views.view_config(sassl="before_jitter")
    sizes = [(30, 40), (64, 25), (20, 20), (50, 80)]

    def pixels():
        yield from (np.full((*size, 3), 128, np.uint8) for size in sizes)

    dataset = tf.data.Dataset.from_generator(
        pixels, output_signature=tf.TensorSpec([None, None, 3], tf.uint8)
    )

    def start(index, image):
        seed = tf.stack([0, tf.cast(index, tf.int32)])
        draws = views.draw_view(config, tf.shape(image), seed, FakeAugment())
        return views.crop_view(image, draws, 16), draws

    dataset = dataset.enumerate().map(start).batch(3)
    dataset = dataset.map(lambda *batch: views.finish_views(*batch, config, FakeAugment()))
    assert dataset.element_spec.shape.as_list() == [None, 16, 16, 3]
    assert [len(batch) for batch in dataset] == [3, 1]
