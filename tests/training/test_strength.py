"""Factors that move: their draws by formula, whenever the training begins or continues."""

import numpy as np
import pytest

from sassl_tf.datasets.shapes import shapes
from training.configs import simclr
from training.input.order import total_steps
from training.input.pipeline import view_batches
from training.input.strength import ends_of
from training.styles import build_augmentation

STEPS = 9  # 3 epochs of 3 batches


def config_of(style="sassl", **fields):
    config = simclr.get_config("smoke")
    config.image_size, config.batch_size, config.epochs = 16, 4, 3.0
    config.augment_on, config.style = "device", style  # batches have the draws in them
    config[style].update(fields)
    return config


@pytest.fixture(scope="module")
def dataset():
    return shapes(count=14, size=20)


def draws(dataset, config, start_step=0, count=STEPS + 2, **share):
    """The draws of the style in each batch, from a step on."""
    batches = view_batches(dataset, config, build_augmentation(config), start_step, **share)
    return [batch["left"]["draws"]["sassl"] for batch in batches.take(count).as_numpy_iterator()]


@pytest.fixture(scope="module")
def uniforms(dataset):
    """u of α and of β, both U(0, 1), and the other draws."""
    config = config_of(blending_factor=(0.0, 1.0), interpolation_factor=(0.0, 1.0))
    return draws(dataset, config)


def test_ranges_move_linearly_from_the_first_step_to_the_last(dataset, uniforms):
    config = config_of(
        blending_factor=(0.1, 0.3),
        blending_factor_end=(0.4, 1.0),
        interpolation_factor=(0.5, 0.5),
        interpolation_factor_end=(0.0, 0.2),
    )
    assert total_steps(config, 3) == STEPS
    moving = draws(dataset, config)
    for step, (own, u) in enumerate(zip(moving, uniforms, strict=True)):
        t = min(step / (STEPS - 1), 1)  # batches after the last step are made ahead, and not used
        low, high = (1 - t) * 0.1 + t * 0.4, (1 - t) * 0.3 + t * 1.0
        np.testing.assert_allclose(own["alpha"], low + (high - low) * u["alpha"], atol=1e-6)
        low, high = (1 - t) * 0.5, (1 - t) * 0.5 + t * 0.2
        np.testing.assert_allclose(own["beta"], low + (high - low) * u["beta"], atol=1e-6)
        for other in ("apply", "style"):
            np.testing.assert_array_equal(own[other], u[other])
    # At step 0, in the middle and at the end, in numbers.
    for step, low, high in ((0, 0.1, 0.3), (4, 0.25, 0.65), (8, 0.4, 1.0)):
        expected = low + (high - low) * uniforms[step]["alpha"]
        np.testing.assert_allclose(moving[step]["alpha"], expected, atol=1e-6)


def test_a_run_that_continues_draws_what_it_would_have_drawn(dataset):
    config = config_of(blending_factor_end=(0.4, 1.0))
    whole, continued = draws(dataset, config), draws(dataset, config, start_step=5, count=4)
    for own, expected in zip(continued, whole[5:9], strict=True):
        np.testing.assert_array_equal(own["alpha"], expected["alpha"])
    # So does the second of two hosts.
    for own, expected in zip(draws(dataset, config, share=(1, 2)), whole, strict=True):
        np.testing.assert_array_equal(own["alpha"], expected["alpha"][2:])


def test_the_other_styles_move_too(dataset, uniforms):
    for style in ("fourier", "color_statistics"):
        config = config_of(style, blending_factor=(0.0, 0.0), blending_factor_end=(1.0, 1.0))
        for step, own in enumerate(draws(dataset, config, count=STEPS)):
            np.testing.assert_allclose(own["alpha"], np.full(4, step / 8), atol=1e-6)
            np.testing.assert_array_equal(own["apply"], uniforms[step]["apply"])


def test_factors_without_an_end_are_the_layers_own():
    assert ends_of(config_of()) == {}
    config = config_of(blending_factor_end=(0.4, 1.0))
    assert ends_of(config) == {"blending_factor": (0.4, 1.0)}
    config.style = "none"
    assert ends_of(config) == {}
