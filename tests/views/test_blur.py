"""Gaussian blur against scipy."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from sassl_tf.views import (
    gaussian_blur,
)
from tests.views.helpers import (
    random_images,
)


@pytest.mark.parametrize("size", [(20, 20), (33, 24)])
def test_blur_is_scipy(size):
    images = random_images(4, *size)
    sigma = np.float32([0.1, 0.7, 1.3, 2.0])
    for kernel_size in (2, 3, 9):
        blurred = gaussian_blur(images, sigma, kernel_size)
        for image, one_sigma, result in zip(images, sigma, blurred, strict=True):
            expected = scipy.ndimage.gaussian_filter(
                image,
                one_sigma,
                mode="constant",
                radius=(kernel_size // 2, kernel_size // 2, 0),
                axes=(0, 1, 2),
            )
            np.testing.assert_allclose(result, expected, atol=1e-5)
