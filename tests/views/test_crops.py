"""Crop boxes against their laws, and cutting them out."""

import functools

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf

from sassl_tf.views import (
    crop_and_resize,
)
from sassl_tf.views.crops import CROP_SAMPLERS, byol_crop_box
from tests.views.helpers import (
    random_images,
)


def crop_boxes(sampler, shape, area, ratio, count):
    boxes = tf.function(lambda seed: tf.stack(CROP_SAMPLERS[sampler](shape, area, ratio, seed)))
    return np.stack([boxes(tf.constant([seed, 7])) for seed in range(count)])


@pytest.mark.parametrize("sampler", CROP_SAMPLERS)
def test_crop_boxes_keep_to_their_ranges_and_vary(sampler):
    boxes = crop_boxes(sampler, (200, 300, 3), (0.2, 0.6), (3 / 4, 4 / 3), 300)
    top, left, height, width = boxes.T
    assert np.all((top >= 0) & (left >= 0) & (top + height <= 200) & (left + width <= 300))
    share, ratio = height * width / 60_000, width / height
    assert 0.19 < share.min() < 0.25 and 0.5 < share.max() < 0.61
    assert 0.74 < ratio.min() < 0.85 and 1.2 < ratio.max() < 1.35
    assert len(np.unique(boxes, axis=0)) > 290


def torchvision_boxes(height, width, area, ratio, count):
    """torchvision's RandomResizedCrop.get_params, as its documentation tells the law."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        for _ in range(10):
            pixels = height * width * rng.uniform(*area)
            aspect = np.exp(rng.uniform(*np.log(ratio)))
            w, h = round(np.sqrt(pixels * aspect)), round(np.sqrt(pixels / aspect))
            if w <= width and h <= height:
                yield rng.integers(height - h + 1), rng.integers(width - w + 1), h, w
                break


def test_torchvisions_law():
    ours = crop_boxes("torchvision", (120, 160, 3), (0.2, 1.0), (3 / 4, 4 / 3), 2000)
    theirs = np.array([*torchvision_boxes(120, 160, (0.2, 1.0), (3 / 4, 4 / 3), 4000)])
    for a, b in zip(ours.T, theirs.T, strict=True):
        assert scipy.stats.ks_2samp(a, b).pvalue > 1e-3
    tensorflows = crop_boxes("tensorflow", (120, 160, 3), (0.2, 1.0), (3 / 4, 4 / 3), 2000)
    assert scipy.stats.ks_2samp(ours[:, 2], tensorflows[:, 2]).pvalue < 1e-3


def byol_boxes(height, width, area, ratio, count):
    """The law of byol/utils/dataset.py, in NumPy."""
    rng = np.random.default_rng(0)
    pixels = height * width * rng.uniform(*area, count)
    aspect = np.exp(rng.uniform(*np.log(ratio), count))
    w = np.minimum(np.round(np.sqrt(pixels * aspect)), width).astype(int)
    h = np.minimum(np.round(np.sqrt(pixels / aspect)), height).astype(int)
    return np.stack([rng.integers(height - h + 1), rng.integers(width - w + 1), h, w], axis=1)


def test_byols_law():
    case = (0.08, 1.0), (3 / 4, 4 / 3)
    theirs = byol_boxes(375, 500, *case, 100_000)
    seeds = tf.stack([tf.range(20_000), tf.fill([20_000], 7)], axis=1)
    box = functools.partial(byol_crop_box, (375, 500, 3), *case)
    ours = tf.function(lambda: tf.vectorized_map(lambda seed: tf.stack(box(seed)), seeds))().numpy()
    for a, b in zip(ours.T, theirs.T, strict=True):
        assert scipy.stats.ks_2samp(a, b).pvalue > 1e-3
    for boxes in (ours, theirs):  # 0.386 and 0.24 under TensorFlow's law
        share = boxes[:, 2] * boxes[:, 3] / (375 * 500)
        assert share.mean() == pytest.approx(0.521, abs=0.01)
        assert np.mean(share < 0.2) == pytest.approx(0.13, abs=0.01)
    # A side that is too long is cut, not drawn again.
    boxes = crop_boxes("byol", (10, 1000, 3), (0.9, 1.0), (3 / 4, 4 / 3), 20)
    assert np.all(boxes[:, 2] == 10) and np.all(boxes[:, 3] > 80)


def test_impossible_crop():
    """TensorFlow's law takes the whole image, torchvision's the centre within the ratio."""
    impossible = (10, 1000, 3), (0.9, 1.0), (3 / 4, 4 / 3), 3
    np.testing.assert_array_equal(crop_boxes("tensorflow", *impossible), [[0, 0, 10, 1000]] * 3)
    np.testing.assert_array_equal(crop_boxes("torchvision", *impossible), [[0, 493, 10, 13]] * 3)
    even = (10, 999, 3), *impossible[1:]
    np.testing.assert_array_equal(crop_boxes("torchvision", *even), [[0, 493, 10, 13]] * 3)
    tall = (1000, 10, 3), *impossible[1:]
    np.testing.assert_array_equal(crop_boxes("torchvision", *tall), [[493, 0, 13, 10]] * 3)


def test_crop_and_resize():
    image = (random_images(1, 30, 40)[0] * 255).astype(np.uint8)
    whole = crop_and_resize(image, [5, 7, 16, 16], 16)
    assert whole.dtype == tf.uint8
    np.testing.assert_array_equal(whole, image[5:21, 7:23])  # same size: the pixels themselves

    for size in (
        6,
        12,
    ):  # bytes are interpolated as they are for the first, as floats for the second
        smaller = crop_and_resize(image, [5, 7, 20, 30], size)
        expected = tf.image.resize(image[5:25, 7:37], (size, size), "bicubic").numpy()
        np.testing.assert_array_equal(smaller, np.round(np.clip(expected, 0, 255)))

    floats = crop_and_resize(image / np.float32(255), [5, 7, 20, 30], 12).numpy()
    assert floats.dtype == np.float32 and floats.min() >= 0 and floats.max() <= 1
    np.testing.assert_allclose(floats, np.clip(expected / 255, 0, 1), atol=1e-5)
