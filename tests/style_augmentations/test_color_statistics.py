"""ColorStatistics against the formulas of its papers, in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from sassl_tf import ColorStatistics
from sassl_tf.style_augmentations.color_statistics import (
    lab_to_rgb,
    match_statistics,
    rgb_to_lab,
)

# Reinhard et al. 2001, equations 4 to 6, pixel by pixel.
CONES = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
LAB = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ [[1, 1, 1], [1, 1, -2], [1, -1, 0]]


def floats(count=4, height=18, width=23):
    draws = np.random.default_rng(0).random((count, height, width, 3)).astype(np.float32)
    # Images of different brightness, contrast and colour.
    low, high = np.random.default_rng(1).uniform((0.05, 0.6), (0.4, 0.95), (count, 3, 2)).T
    return (low.T[:, None, None] + (high - low).T[:, None, None] * draws).astype(np.float32)


def to_lab(image):
    return np.log10(np.maximum(image.astype(np.float64) @ CONES.T, 1 / 255)) @ LAB.T


def to_rgb(image):
    return 10 ** (image @ np.linalg.inv(LAB).T) @ np.linalg.inv(CONES).T


def matched(content, style, alpha):
    def statistics(image):
        return image.mean(axis=(0, 1)), np.sqrt(image.var(axis=(0, 1)) + 1e-5)

    content, style = content.astype(np.float64), style.astype(np.float64)
    (mean_c, deviation_c), (mean_s, deviation_s) = statistics(content), statistics(style)
    adain = deviation_s * (content - mean_c) / deviation_c + mean_s
    return (1 - alpha) * content + alpha * adain


def test_statistics_are_those_of_the_style():
    x = floats()
    full = match_statistics(x, x[::-1].copy(), np.ones(4, np.float32)).numpy()
    np.testing.assert_allclose(full.mean(axis=(1, 2)), x[::-1].mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(full.std(axis=(1, 2)), x[::-1].std(axis=(1, 2)), atol=2e-4)


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_the_layer_takes_the_statistics_of_the_drawn_image_and_clips(space):
    x = floats()
    layer = ColorStatistics(color_space=space, value_range=(0, 1))
    draws = {
        "apply": np.array([True, True, False, True]),
        "style": np.float32([0.6, 0.5, 0.3, 0.99]),
        "alpha": np.float32([1.0, 0.2, 0.3, 0.7]),
    }
    views = layer.transform_images(x, {k: tf.constant(v) for k, v in draws.items()}).numpy()
    for i in range(4):
        if not draws["apply"][i]:
            np.testing.assert_array_equal(views[i], x[i])
            continue
        pair = x[i], x[(i + 1 + int(draws["style"][i] * 3)) % 4]
        if space == "rgb":
            expected = matched(*pair, draws["alpha"][i])
        else:
            expected = to_rgb(matched(*map(to_lab, pair), draws["alpha"][i]))
        np.testing.assert_allclose(views[i], np.clip(expected, 0, 1), atol=5e-5)


def test_reinhards_space():
    x = floats()
    np.testing.assert_allclose(rgb_to_lab(x), to_lab(x), atol=1e-5)
    np.testing.assert_allclose(lab_to_rgb(rgb_to_lab(x)), x, atol=1e-5)
    # The way back as the paper prints it, rounded (equation 10).
    inverse = [[4.4679, -3.5873, 0.1193], [-1.2186, 2.3809, -0.1624], [0.0497, -0.2439, 1.2045]]
    np.testing.assert_allclose(np.linalg.inv(CONES), inverse, atol=0.02)
    gray = np.full((1, 2, 2, 3), 0.5, np.float32)
    assert np.abs(rgb_to_lab(gray).numpy()[..., 1:]).max() < 0.01  # α and β are the colours
    black = np.zeros((1, 2, 2, 3), np.float32)
    assert np.abs(lab_to_rgb(rgb_to_lab(black))).max() < 1.05 / 255  # and no NaN


def test_a_flat_image_takes_the_mean_alone():
    flat, style = np.full((1, 20, 30, 3), 0.3, np.float32), floats(1, 20, 30)
    actual = match_statistics(flat, style, np.float32([1]))
    expected = np.broadcast_to(style.mean(axis=(1, 2), keepdims=True), flat.shape)
    np.testing.assert_allclose(actual, expected, atol=5e-4)


def test_bad_arguments():
    with pytest.raises(ValueError, match="color_space is 'hsv'; expected one of 'rgb', 'lab'"):
        ColorStatistics(color_space="hsv")
    with pytest.raises(ValueError, match="blending_factor is 2"):
        ColorStatistics(blending_factor=2)
