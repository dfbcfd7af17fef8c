"""The draws of a view: what they depend on, and how they are distributed."""

import zlib

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf

from sassl_tf.views import (
    View,
    draw_view,
    simclr_recipe,
)
from sassl_tf.views.draws import draw_operations
from tests.views.helpers import (
    SHAPE,
    FakeAugment,
    assert_nests_equal,
    draw_many,
    nothing,
    take,
)


def test_draws_depend_on_the_seed_alone():
    config = View(sassl="before_jitter")
    all_draws = draw_many(config, 12, FakeAugment(), parallel=tf.data.AUTOTUNE)
    assert_nests_equal(take(all_draws, slice(5, 9)), draw_many(config, 4, FakeAugment(), first=5))
    alone = draw_view(config, SHAPE, tf.constant([3, 7]), FakeAugment())
    assert_nests_equal(take(all_draws, 7), tf.nest.map_structure(lambda t: t.numpy(), alone))


def test_each_operation_draws_from_a_seed_that_is_folded_by_its_name():
    """The draws are those of plain tf.random, number by number: the seed is [3, 5]."""
    draws = draw_view(View(hue=0.1), SHAPE, tf.constant([3, 5]))

    def uniforms(name, count):
        folded = tf.random.fold_in(tf.constant([3, 5]), zlib.crc32(name.encode()) % 2**31)
        return tf.random.stateless_uniform([count], folded).numpy()

    apply, brightness, contrast, saturation, hue, *places = uniforms("jitter", 9)
    factors = [0.2 + 1.6 * uniform for uniform in (brightness, contrast, saturation)]
    drawn = [draws[name] for name in ("brightness", "contrast", "saturation")]
    np.testing.assert_allclose(drawn, factors, rtol=1e-6)
    np.testing.assert_allclose(draws["hue"], -0.1 + 0.2 * hue, atol=1e-7)
    np.testing.assert_array_equal(draws["order"], np.argsort(places))
    assert draws["jitter"] == (apply < 0.8)
    assert draws["flip"] == (uniforms("flip", 1)[0] < 0.5)
    assert draws["grayscale"] == (uniforms("grayscale", 1)[0] < 0.2)
    apply, sigma = uniforms("blur", 2)
    assert draws["blur"] == (apply < 0.5)
    np.testing.assert_allclose(draws["sigma"], 0.1 + 1.9 * sigma, rtol=1e-6)


def test_a_batch_of_seeds_draws_what_each_of_them_does():
    """To the bit, though XLA draws them; and with as many leading axes as the seeds have."""
    view, seeds = View(solarize_probability=0.3), tf.constant([[1, 2], [-5, 2**30], [7, 0], [8, 9]])
    alone = [draw_view(view, SHAPE, seed) for seed in seeds]
    expected = {name: np.stack([draws[name] for draws in alone]) for name in alone[0]}
    del expected["crop"]
    assert_nests_equal(draw_operations(view, seeds), expected)
    square = draw_operations(view, tf.reshape(seeds, [2, 2, 2]))
    assert_nests_equal(
        square, {name: array.reshape(2, 2, *array.shape[1:]) for name, array in expected.items()}
    )


@pytest.fixture(scope="module")
def many():
    config = View(solarize_probability=0.3)
    return config, draw_many(config, 2000)


def test_apply_rates(many):
    config, draws = many
    for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
        test = scipy.stats.binomtest(
            int(draws[name].sum()), 2000, getattr(config, f"{name}_probability")
        )
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
    config = simclr_recipe(strength=2.0).left
    assert config.brightness == 1.6
    assert draw_many(config, 200)["contrast"].min() >= 0


@pytest.mark.parametrize("position", ["before_jitter", "after_all"])
def test_sassl_changes_no_other_draw(position):
    without = draw_many(View(), 8)
    draws = draw_many(View(sassl=position), 8, FakeAugment())
    offsets = draws.pop("sassl")["offset"]
    assert_nests_equal(draws, without)
    assert len(np.unique(offsets)) == 8


def test_operations_switched_off_change_no_other_draw():
    draws, fewer = draw_many(View(), 8), draw_many(nothing(), 8)
    for name in ("crop", "order", "brightness", "contrast", "saturation", "hue", "sigma"):
        np.testing.assert_array_equal(draws[name], fewer[name])


def test_draws_stay_as_they_were():
    """Runs that were begun go on: what a seed draws must never change."""
    seed = tf.constant([3, 7])
    draws = draw_view(View(solarize_probability=0.3), SHAPE, seed)
    assert {name: value.numpy().tolist() for name, value in draws.items()} == {
        "crop": [4, 30, 19, 18],
        "flip": True,
        "jitter": True,
        "order": [1, 2, 3, 0],
        "brightness": 1.737291932106018,
        "contrast": 0.5209966897964478,
        "saturation": 1.0233114957809448,
        "hue": -0.17219486832618713,
        "grayscale": True,
        "blur": False,
        "sigma": 1.146761417388916,
        "solarize": False,
    }
    boxes = {"torchvision": [9, 5, 25, 30], "byol": [6, 17, 25, 30]}
    for sampler, box in boxes.items():
        draws = draw_view(View(crop_sampler=sampler), SHAPE, seed)
        assert draws["crop"].numpy().tolist() == box
