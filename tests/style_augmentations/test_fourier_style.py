"""FourierStyle against NumPy's whole complex transform."""

import numpy as np
import pytest
import tensorflow as tf

from sassl_tf import FourierStyle
from sassl_tf.in_batch import one_row
from sassl_tf.style_augmentations.fourier_style import mix_amplitudes


def floats(count=4, height=18, width=23):
    return np.random.default_rng(0).random((count, height, width, 3)).astype(np.float32)


def mixed(content, style, alpha, share=1.0):
    """The formula on one image, on the complex spectrum with frequencies of both signs."""
    spectra = (np.fft.fft2(image.astype(np.float64), axes=(0, 1)) for image in (content, style))
    own, other = spectra
    bound = 0.5 * np.sqrt(share)
    rows, columns = (np.abs(np.fft.fftfreq(side)) <= bound + 1e-9 for side in content.shape[:2])
    alpha = alpha * (rows[:, None] & columns)[..., None]
    amplitude = (1 - alpha) * np.abs(own) + alpha * np.abs(other)
    image = np.fft.ifft2(amplitude * np.exp(1j * np.angle(own)), axes=(0, 1))
    assert np.abs(image.imag).max() < 1e-9
    return image.real


@pytest.mark.parametrize("sides", [(18, 23), (16, 16)])  # odd and even
def test_amplitudes_are_mixed_and_phases_kept(sides):
    x, alpha = floats(4, *sides), np.float32([0, 0.3, 0.7, 1])
    for share in (1.0, 0.25, 0.01):
        actual = mix_amplitudes(x, x[::-1].copy(), alpha, share)
        expected = [mixed(*case, share) for case in zip(x, x[::-1], alpha, strict=True)]
        np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("styles", ["in_batch", "one_in_batch"])
def test_the_layer_mixes_with_the_drawn_image_and_clips(styles):
    x = floats()
    layer = FourierStyle(styles, value_range=(0, 1), frequency_share=0.5)
    draws = {
        "apply": np.array([True, True, False, True]),
        "style": np.float32([0.6, 0.5, 0.3, 0.99]),
        "alpha": np.float32([1.0, 0.2, 0.3, 1.0]),
    }
    views = layer.transform_images(x, {k: tf.constant(v) for k, v in draws.items()}).numpy()
    for i in range(4):
        if not draws["apply"][i]:
            np.testing.assert_array_equal(views[i], x[i])
            continue
        other = int(0.6 * 4) if styles == "one_in_batch" else (i + 1 + int(draws["style"][i] * 3))
        expected = mixed(x[i], x[other % 4], draws["alpha"][i], share=0.5)
        np.testing.assert_allclose(views[i], np.clip(expected, 0, 1), atol=2e-5)


def test_every_image_may_be_the_one_of_the_batch():
    rows = [one_row(tf.fill([5], np.float32(u))).numpy() for u in (0, 0.25, 0.5, 0.7, 0.999)]
    np.testing.assert_array_equal(rows, np.repeat(np.arange(5)[:, None], 5, axis=1))
    assert one_row(tf.fill([3], np.nextafter(np.float32(1), np.float32(0)))).numpy().max() == 2


def test_mixing_pixels_is_the_same():
    """There is no β, as the docstring explains."""
    x, style = floats()[:1], floats()[1:2]
    half, full = (mix_amplitudes(x, style, np.float32([a])) for a in (0.5, 1))
    np.testing.assert_allclose(half, (x + full) / 2, atol=2e-5)


def test_a_flat_image_takes_the_brightness_alone():
    """It has no phases, with which the amplitudes of others could make a picture."""
    flat, style = np.full((1, 20, 30, 3), 0.3, np.float32), floats(1, 20, 30)
    actual = mix_amplitudes(flat, style, np.float32([1]))
    expected = np.broadcast_to(style.mean(axis=(1, 2), keepdims=True), flat.shape)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"styles": "default"}, "styles is 'default'; expected one of 'in_batch', 'one_in_batch'"),
        ({"frequency_share": 0}, "frequency_share is 0"),
        ({"frequency_share": 1.5}, "frequency_share is 1.5"),
        ({"frequency_share": (0.1, 0.5)}, r"frequency_share is \(0.1, 0.5\)"),
        ({"blending_factor": (0.5, 0.1)}, "blending_factor is"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FourierStyle(**arguments)
