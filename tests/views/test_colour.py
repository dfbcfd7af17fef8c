"""Colour operations against tf.image one image at a time, colorsys and formulas by hand."""

import colorsys
import itertools

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sassl_tf.views import (
    color_jitter,
    gaussian_blur,
    grayscale,
    solarize,
)
from sassl_tf.views.colour import BRIGHTNESS, HUE
from tests.views.helpers import (
    random_images,
    random_jitter,
)

TF_IMAGE = [
    lambda image, factor: image * factor,
    tf.image.adjust_contrast,
    tf.image.adjust_saturation,
    tf.image.adjust_hue,
]


def jitter_by_tf_image(image, order, *factors):
    for operation in order:
        image = tf.clip_by_value(TF_IMAGE[operation](image, factors[operation]), 0.0, 1.0)
    return image.numpy()


def test_color_jitter_is_tf_image_in_the_drawn_order():
    orders = np.array(list(itertools.permutations(range(4))), np.int32)
    images, (_, *factors) = random_images(24), random_jitter(24)
    expected = [jitter_by_tf_image(*one) for one in zip(images, orders, *factors, strict=True)]
    np.testing.assert_allclose(
        color_jitter(images, orders, *factors), np.stack(expected), atol=1e-5
    )


@pytest.mark.parametrize("turns", [-0.5, -0.1, 0.0, 0.2, 1 / 3, 1.0])
def test_hue_is_colorsys(turns):
    rgb = random_images(1, 4, 4)
    factors = [np.float32([factor]) for factor in (1.0, 1.0, 1.0, turns)]
    turned = color_jitter(rgb, np.int32([[0, 1, 2, 3]]), *factors)

    def turn(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel.tolist())
        return colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value)

    np.testing.assert_allclose(turned, np.apply_along_axis(turn, -1, rgb), atol=1e-5)


def torchvision_operation(image, operation, factor):
    """As its functional operations on tensors are defined; hue is the same as TensorFlow's."""
    grey = image @ np.float32([0.2989, 0.587, 0.114])
    blend_with = [np.zeros_like(image), np.full_like(image, grey.mean()), grey[..., None]]
    return factor * image + (1 - factor) * blend_with[operation]


@pytest.mark.parametrize("law", ["byol", "torchvision"])
def test_the_other_laws_of_jitter(law):
    images = random_images(6)
    orders, *factors = random_jitter(6)
    expected = []
    for image, order, *own in zip(images, orders, *factors, strict=True):
        for operation in order:
            factor = own[operation]
            if law == "torchvision" and operation != HUE:
                image = torchvision_operation(image, operation, factor)
            elif law == "byol" and operation == BRIGHTNESS:
                image = image + (factor - 1)
            else:
                image = TF_IMAGE[operation](image, factor)
            image = np.clip(image, 0, 1)
        expected.append(image)
    result = color_jitter(images, orders, *factors, law=law)
    np.testing.assert_allclose(result, np.stack(expected), atol=1e-5)


def test_color_jitter_by_hand():
    image = np.float32([[[0.4, 0.2, 0.2], [0.8, 0.8, 0.8]]])[None]
    cases = [
        ([2.0, 1, 1, 0], [[0.8, 0.4, 0.4], [1, 1, 1]]),
        ([1, 0.0, 1, 0], [[0.6, 0.5, 0.5], [0.6, 0.5, 0.5]]),
        ([1, 1, 0.0, 0], [[0.4, 0.4, 0.4], [0.8, 0.8, 0.8]]),
        ([1, 1, 9.0, 0], [[0.4, 0.0, 0.0], [0.8, 0.8, 0.8]]),
        ([1, 1, 1, 1 / 3], [[0.2, 0.4, 0.2], [0.8, 0.8, 0.8]]),
    ]
    for factors, expected in cases:
        columns = [np.float32([factor]) for factor in factors]
        result = color_jitter(image, np.int32([[3, 2, 1, 0]]), *columns)
        np.testing.assert_allclose(result[0, 0], expected, atol=1e-6, err_msg=str(factors))


@given(
    hnp.arrays(np.float32, (3, 4, 5, 3), elements=st.floats(0, 1, width=32)),
    st.integers(0, 1000),
    st.floats(0.1015625, 2.0, width=32),
)
@settings(max_examples=25, deadline=None)
def test_values_stay_in_range(images, seed, sigma):
    results = [
        color_jitter(images, *random_jitter(3, seed)),
        gaussian_blur(images, np.full(3, sigma, np.float32), 3),
        grayscale(images),
        solarize(images),
    ]
    for result in results:
        assert np.all((result.numpy() >= 0) & (result.numpy() <= 1))


def test_grayscale_is_tf_image():
    images = random_images(3)
    expected = np.broadcast_to(tf.image.rgb_to_grayscale(images), images.shape)
    np.testing.assert_allclose(grayscale(images), expected, atol=1e-6)


def test_solarize_by_hand():
    images = np.float32([0.0, 0.25, 0.5, 0.75, 1.0, 0.4]).reshape(1, 1, 2, 3)
    np.testing.assert_array_equal(
        np.ravel(solarize(images)), np.float32([0, 0.25, 0.5, 0.25, 0, 0.4])
    )
