"""The measures of texture on pictures for which they are known."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import texture


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).random((3, 32, 32, 3)).astype(np.float32)


def mean_colour(images):
    return tf.reduce_mean(images, axis=(1, 2))


def test_the_same_picture(pictures):
    plain = 1 - pictures
    assert texture.style_gap(pictures, pictures, plain, mean_colour) == pytest.approx([0, 0, 0])
    assert texture.style_gap(plain, pictures, plain, mean_colour) == pytest.approx([1, 1, 1])
    assert texture.detail_energy(pictures, pictures) == pytest.approx([1, 1, 1])
    assert texture.detail_explained(pictures, pictures) == pytest.approx([1, 1, 1])


def test_less_contrast_of_detail(pictures):
    """A share s of the detail has s² of its energy and explains 1 - (1 - s)² of it."""
    faded = pictures - 0.25 * texture.fine_detail(pictures)
    detail = texture.fine_detail(faded)
    energy = texture.detail_energy(faded, pictures)
    explained = texture.detail_explained(faded, pictures)
    original = texture.fine_detail(pictures)
    np.testing.assert_allclose(energy, (detail**2).sum((1, 2, 3)) / (original**2).sum((1, 2, 3)))
    assert (energy > 0.5).all() and (energy < 0.75).all()  # 0.75² where all of it is fine
    assert (explained > 0.9).all() and (explained < 1).all()


def test_a_flat_picture_has_no_detail_and_explains_none(pictures):
    flat = np.broadcast_to(pictures.mean((1, 2), keepdims=True), pictures.shape)
    assert texture.detail_energy(flat, pictures) == pytest.approx([0, 0, 0], abs=1e-6)
    assert texture.detail_explained(flat, pictures) == pytest.approx([0, 0, 0], abs=1e-6)


def test_other_detail_of_the_same_energy_explains_less_than_none(pictures):
    other = pictures[:, ::-1]
    assert texture.detail_energy(other, pictures) == pytest.approx([1, 1, 1], rel=1e-4)
    assert (texture.detail_explained(other, pictures) < -0.8).all()


def test_fine_detail_is_gone_from_slow_waves_and_stays_in_fast_ones():
    at = np.arange(96, dtype=np.float32)
    slow, fast = np.sin(2 * np.pi * at / 48), np.sin(2 * np.pi * at / 3)
    for wave, low, high in ((slow, 0.0, 0.001), (fast, 0.97, 1.03)):
        image = np.broadcast_to(wave[None, :, None, None], (1, 96, 96, 3)).astype(np.float32)
        detail = texture.fine_detail(image)[:, 12:-12]
        assert low <= np.square(detail).sum() / np.square(image[:, 12:-12]).sum() <= high


def test_psnr_by_hand(pictures):
    assert texture.psnr(pictures + 0.1, pictures) == pytest.approx([20, 20, 20], abs=1e-3)
