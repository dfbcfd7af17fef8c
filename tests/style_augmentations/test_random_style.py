"""RandomStyle against its formula: the Gaussian of a bank, α interpolation, T's own picture."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import sassl_tf
from sassl_tf import RandomStyle, StyleBank
from sassl_tf.seeding import normal
from sassl_tf.style_augmentations.random_style import fit_gaussian
from tests.stylizers.tiny import tiny_bank, tiny_stylizer

SEED = tf.constant([3, 4])


def test_step_by_step():
    x = np.random.default_rng(0).random((3, 24, 32, 3)).astype(np.float32)
    layer = RandomStyle(value_range=(0, 1), precision="float32")
    draws = layer.get_random_transformation((3,), SEED)
    assert set(draws["alpha"].numpy()) == {0.5} and (draws["beta"].numpy() == 1).all()
    draws["apply"] = tf.constant([True, False, True])
    views = layer.transform_images(x, draws).numpy()
    codes = layer.style_bank.codes.astype(np.float64)
    # The symmetric root by another way than the layer's: singular values of the centred codes.
    _, s, vt = np.linalg.svd((codes - codes.mean(axis=0)) / np.sqrt(len(codes) - 1))
    root = vt.T @ np.diag(s) @ vt
    np.testing.assert_array_equal(views[1], x[1])
    for i in (0, 2):
        z_s = codes.mean(axis=0) + root @ draws["style"].numpy()[i]
        z = 0.5 * layer.stylizer.encode_style(x[i : i + 1]).numpy() + 0.5 * z_s
        expected = layer.stylizer.stylize(x[i : i + 1], z.astype(np.float32))[0]
        np.testing.assert_allclose(views[i], expected, atol=1e-3)


def test_draws_stay_as_they_were():
    """Runs that were begun go on: what a seed draws must never change."""
    layer = RandomStyle(tiny_stylizer(), tiny_bank())
    expected = [
        [-0.5511789321899414, -0.6246578693389893, 1.1070622205734253, 1.6868339776992798],
        [-1.2492718696594238, 2.2865724563598633, -0.8173532485961914, -0.016631588339805603],
    ]
    draws = layer.get_random_transformation((2,), [3, 7])
    np.testing.assert_allclose(draws["style"], expected, atol=1e-5)


def test_codes_have_the_mean_and_the_covariance_of_the_bank():
    layer = RandomStyle()
    bank = layer.style_bank
    drawn = layer._drawn_styles(bank, layer._draw_style((20_000,), SEED)).numpy()
    spread = bank.codes.std(axis=0).max()
    np.testing.assert_allclose(drawn.mean(axis=0), bank.codes.mean(axis=0), atol=0.04 * spread)
    expected = np.cov(bank.codes, rowvar=False)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), expected, atol=0.06 * spread**2)


def test_normal_draws():
    draws = normal((3, 7000), SEED).numpy()
    assert scipy.stats.kstest(draws.ravel(), "norm").pvalue > 0.01
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.05
    compiled = tf.function(lambda: normal((3, 7000), SEED), jit_compile=True)()
    np.testing.assert_allclose(compiled, draws, atol=1e-4)


def test_a_bank_with_fewer_codes_than_numbers_in_one():
    codes = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    mean, root = fit_gaussian(codes)
    np.testing.assert_allclose(mean, codes.mean(axis=0), atol=1e-6)
    # All draws lie on the line through both codes.
    direction = codes[0] - codes[1]
    np.testing.assert_allclose(root @ root, np.outer(direction, direction) / 2, atol=1e-5)


def test_a_bank_is_needed(tmp_path):
    stylizer = sassl_tf.load_stylizer("compact")
    one = StyleBank(StyleBank.default("compact").codes[:1], stylizer.fingerprint)
    for styles in ("in_batch", one):
        with pytest.raises(ValueError, match="a style bank of at least two codes"):
            RandomStyle(stylizer, styles)
    with pytest.raises(ValueError, match="no style bank at"):
        RandomStyle(stylizer, tmp_path / "none.npz")


def test_its_bank_survives_the_config():
    bank = StyleBank.default("compact")
    layer = RandomStyle(styles=StyleBank(bank.codes[:5], bank.fingerprint), blending_factor=0.4)
    config = layer.get_config()
    assert "interpolation_factor" not in config
    again = RandomStyle.from_config(config)
    assert type(again) is RandomStyle and again.get_config() == config
    np.testing.assert_array_equal(again._root, layer._root)
    with pytest.raises(ValueError, match="config of a RandomStyle is damaged"):
        RandomStyle.from_config({**config, "interpolation_factor": 0.5})
