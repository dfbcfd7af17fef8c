"""The grid of α and β against Algorithm 1 as the layer computes it."""

import numpy as np
import pytest
from PIL import Image

import sassl_tf
from evaluation.style_grid import grid, style_grid


@pytest.fixture(scope="module")
def stylizer():
    return sassl_tf.load_stylizer("compact")


def test_the_corners_and_the_layer(stylizer):
    image = np.random.default_rng(0).random((32, 48, 3), np.float32)
    bank = sassl_tf.StyleBank.default("compact")
    views = grid(image, bank.codes[3], stylizer, alphas=(0.0, 0.25), betas=(0.0, 0.5, 1.0))
    assert views.shape == (2, 3, 32, 48, 3)
    for row in views:
        np.testing.assert_array_equal(row[0], image)  # β = 0 is the image itself
        np.testing.assert_allclose(row[1], (row[0] + row[2]) / 2, atol=1e-6)
    layer = sassl_tf.SASSLAugmentation(
        stylizer,
        styles=sassl_tf.StyleBank(bank.codes[3:4], bank.fingerprint),
        probability=1.0,
        blending_factor=(0.25, 0.25),
        interpolation_factor=(0.5, 0.5),
        value_range=(0, 1),
        precision="float32",
    )
    np.testing.assert_allclose(views[1, 1], layer(image, training=True), atol=1e-3)


def test_the_picture(stylizer, tmp_path):
    rng = np.random.default_rng(0)
    for number, shape in enumerate([(40, 60, 3), (90, 30, 3)]):
        pixels = rng.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    bank = sassl_tf.StyleBank.default("compact")
    style_grid(tmp_path, tmp_path / "out" / "grid.png", stylizer, bank, count=5, image_size=32)
    with Image.open(tmp_path / "out" / "grid.png") as picture:
        assert picture.height > 1.5 * picture.width  # two blocks of five rows
    other = sassl_tf.StyleBank(bank.codes, "another")
    with pytest.raises(ValueError, match="another"):
        style_grid(tmp_path, tmp_path / "grid.png", stylizer, other)
