"""The compact stylizer against the one that it was distilled from, on what neither has seen."""

import numpy as np
import pytest
import tensorflow as tf

import sassl_tf
from sassl_tf.style_images import style_images
from tests.conftest import shared_path

CONTENTS, STYLES = 48, 24


def some(folder, count, size):
    """Images evenly picked of all in a folder."""
    images = style_images(str(folder), size)
    total = int(images.reduce(np.int64(0), lambda n, _: n + 1))
    picked = images.shard(max(1, total // count), 0).take(count)
    return np.stack(list(picked.as_numpy_iterator()))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_views_are_the_mobile_stylizers(magenta_folder, imagenette, precision):
    """As in the model card: the mean PSNR of views, F and T each stylizer's own."""
    contents = tf.constant(some(imagenette / "val", CONTENTS, 128))
    styles = some(shared_path("data/style256/test"), STYLES, 256)
    views = {}
    for name, weights in (("magenta-mobile", magenta_folder), ("compact", None)):
        stylizer = sassl_tf.load_stylizer(name, weights)
        layer = sassl_tf.SASSLAugmentation(
            stylizer,
            sassl_tf.StyleBank.from_images(styles, stylizer),
            probability=1.0,
            value_range=(0, 1),
            precision=precision if name == "compact" else "float32",
        )
        draws = layer.get_random_transformation((CONTENTS,), (0, 0))
        views[name] = layer.transform_images(contents, draws).numpy()
    errors = np.mean((views["compact"] - views["magenta-mobile"]) ** 2, axis=(1, 2, 3))
    assert np.mean(-10 * np.log10(errors)) > 40.5
    plain = np.mean((contents.numpy() - views["magenta-mobile"]) ** 2, axis=(1, 2, 3))
    assert np.mean(-10 * np.log10(plain)) < 33.5
