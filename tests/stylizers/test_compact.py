"""The compact stylizer against the one that it was distilled from, on what neither has seen."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

import sassl_tf
from sassl_tf.datasets.folder import every_image
from sassl_tf.style_images import style_images
from tests.conftest import shared_path

CONTENTS, STYLES = 48, 24


def some(folder, count, size):
    """Images evenly picked of all in a folder."""
    images = every_image(folder)
    picked = images.subset(range(0, len(images), max(1, len(images) // count))[:count])
    return np.stack(list(style_images(picked, size).as_numpy_iterator()))


def test_codes_and_pictures_are_those_of_before():
    """Of F and T as they were when these weights were published.

    `compact_golden.npz` has the codes of two style images and the pictures of two photographs of
    the package. Views of every user would change with it: only another version of compact, with
    another fingerprint, may bring others.
    """
    golden = np.load(pathlib.Path(__file__).parent / "compact_golden.npz")
    stylizer = sassl_tf.load_stylizer("compact").in_precision("float32")
    styles = sassl_tf.samples.styles()[:2] / np.float32(255)
    np.testing.assert_allclose(stylizer.encode_style(styles), golden["codes"], atol=1e-3)
    contents = sassl_tf.samples.photographs(224)[:2, 60:92, 80:124] / np.float32(255)
    codes = sassl_tf.StyleBank.default("compact").codes[:2]
    pictures = stylizer.stylize(contents, codes)
    np.testing.assert_allclose(pictures, golden["pictures"], atol=1e-3)


@pytest.fixture(scope="module")
def contents(imagenette):
    return tf.constant(some(imagenette / "val", CONTENTS, 128))


@pytest.fixture(scope="module")
def views_of(contents):
    """A function of a stylizer and a precision: the views of `contents` in it, float32 arrays."""
    styles = some(shared_path("data/style256/test"), STYLES, 256)

    def make(stylizer, precision):
        layer = sassl_tf.SASSLAugmentation(
            stylizer,
            sassl_tf.StyleBank.from_images(styles, stylizer),
            probability=1.0,
            value_range=(0, 1),
            precision=precision,
        )
        draws = layer.get_random_transformation((CONTENTS,), (0, 0))
        return layer.transform_images(contents, draws).numpy()

    return make


@pytest.fixture(scope="module")
def mobile_views(views_of, magenta_folder):
    return views_of(sassl_tf.load_stylizer("magenta-mobile", magenta_folder), "float32")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_views_are_the_mobile_stylizers(contents, views_of, mobile_views, precision):
    """As in the model card: the mean PSNR of views, F and T each stylizer's own."""
    views = views_of(sassl_tf.load_stylizer("compact"), precision)
    errors = np.mean((views - mobile_views) ** 2, axis=(1, 2, 3))
    assert np.mean(-10 * np.log10(errors)) > 40.5
    plain = np.mean((contents.numpy() - mobile_views) ** 2, axis=(1, 2, 3))
    assert np.mean(-10 * np.log10(plain)) < 33.5
