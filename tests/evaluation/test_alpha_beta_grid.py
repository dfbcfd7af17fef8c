"""The picture of α and β that the command draws."""

import numpy as np
import pytest
from PIL import Image

import sassl_tf
from evaluation.alpha_beta_grid import draw_grid


@pytest.fixture(scope="module")
def stylizer():
    return sassl_tf.load_stylizer("compact")


def test_the_picture(stylizer, tmp_path):
    rng = np.random.default_rng(0)
    for number, shape in enumerate([(40, 60, 3), (90, 30, 3)]):
        pixels = rng.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    bank = sassl_tf.StyleBank.default("compact")
    draw_grid(tmp_path, tmp_path / "out" / "grid.png", stylizer, bank, count=5, image_size=32)
    with Image.open(tmp_path / "out" / "grid.png") as picture:
        assert picture.height > 1.5 * picture.width  # two blocks of five rows
    other = sassl_tf.StyleBank(bank.codes, "another")
    with pytest.raises(ValueError, match="another"):
        draw_grid(tmp_path, tmp_path / "grid.png", stylizer, other)
