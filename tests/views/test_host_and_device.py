"""The two implementations of a view's operations, which check each other."""

import numpy as np
import pytest

from sassl_tf.views import (
    color_jitter,
    device,
    gaussian_blur,
    grayscale,
    host,
    solarize,
)
from sassl_tf.views.colour import JITTER_LAWS
from tests.views.helpers import (
    OPERATIONS,
    random_distortions,
    random_images,
    random_jitter,
)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_flip_is_numpy(dtype):
    images = (random_images(3) * 255).astype(dtype)
    flipped = device.flip(images, np.array([True, False, True]))
    expected = np.stack([images[0, :, ::-1], images[1], images[2, :, ::-1]])
    np.testing.assert_array_equal(flipped, expected)


@pytest.mark.parametrize(
    ("law", "kernel_size"),
    list(zip(JITTER_LAWS, (1, 20, 23), strict=True)),
)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_distort_is_the_batched_operations(law, kernel_size, dtype):
    """One image at a time and all at once are two implementations, which check each other."""
    images, draws = random_images(12), random_distortions(12)
    if dtype == np.uint8:
        images = np.uint8(images * 255)
    expected = device.distort(images, draws, law, kernel_size)
    result = host.distort(images, draws, law, kernel_size)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_distort_leaves_what_drew_nothing():
    images, draws = random_images(4), random_distortions(4)
    for name in OPERATIONS:
        draws[name] = np.zeros(4, bool)
    np.testing.assert_array_equal(host.distort(images, draws, "simclr", 3), images)


@pytest.mark.parametrize("to_unit", [host.flip_and_rescale, device.flip_and_rescale])
def test_to_unit_range(to_unit):
    images = (random_images(3) * 255).astype(np.uint8)
    expected = np.stack([images[0, :, ::-1], images[1], images[2, :, ::-1]]) / 255
    flips = np.array([True, False, True])
    np.testing.assert_allclose(to_unit(images, flips), expected, atol=1e-6)
    np.testing.assert_allclose(to_unit(np.float32(images / 255), flips), expected, atol=1e-6)


def test_nan_stays_in_its_image():
    clean = random_images(4)
    broken = clean.copy()
    broken[2] = np.nan
    sigma, mask = np.float32([0.5, 1.0, 1.5, 2.0]), np.array([True, False, True, True])
    operations = [
        lambda images: color_jitter(images, *random_jitter(4)),
        lambda images: gaussian_blur(images, sigma, 5),
        grayscale,
        solarize,
        lambda images: device.flip(images, mask),
        lambda images: host.distort(images, random_distortions(4), "simclr", 5),
    ]
    for operation in operations:
        others = [0, 1, 3]
        np.testing.assert_allclose(
            operation(broken).numpy()[others], operation(clean).numpy()[others], atol=1e-6
        )
