"""Images, draws and a stand-in for the SASSL layer."""

import numpy as np
import tensorflow as tf

from sassl_tf.views import View, draw_view

SHAPE = (40, 50, 3)


class FakeAugment:
    """Adds a drawn offset, within [0, 1]; the two methods of the SASSL layer that views use."""

    value_range = (0, 1)

    def get_random_transformation(self, shape=(), seed=None):
        return {"offset": tf.random.stateless_uniform(shape, seed)}

    def transform_images(self, images, transformation):
        return tf.minimum(images + transformation["offset"][:, None, None, None], 1.0)


def nothing(**overrides):
    """A view in which no operation is applied but the crop."""
    names = ("flip", "jitter", "grayscale", "blur", "solarize")
    return View(**{f"{name}_probability": 0.0 for name in names} | overrides)


def draw_many(config, count, augment=None, first=0, parallel=None):
    """The draws of `count` images with seeds [3, first], [3, first + 1], ..., as numpy arrays."""
    dataset = tf.data.Dataset.range(first, first + count)
    dataset = dataset.map(
        lambda i: draw_view(config, SHAPE, tf.stack([3, tf.cast(i, tf.int32)]), augment),
        num_parallel_calls=parallel,
    )
    return next(iter(dataset.batch(count).as_numpy_iterator()))


def assert_nests_equal(left, right):
    tf.nest.map_structure(np.testing.assert_array_equal, left, right)


def take(draws, index):
    return tf.nest.map_structure(lambda array: array[index], draws)


def random_images(batch, height=13, width=17, seed=0):
    """Photograph-like extremes included: greys, black, white and saturated pixels."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(size=(batch, height, width, 3)).astype(np.float32)
    images[:, 0] = images[:, 0, :, :1]
    images[:, 1] = np.round(images[:, 1])
    return images


def random_jitter(batch, seed=0):
    rng = np.random.default_rng(seed)
    order = np.stack([rng.permutation(4) for _ in range(batch)]).astype(np.int32)
    factors = rng.uniform(0.0, 2.0, (3, batch)).astype(np.float32)
    return order, *factors, rng.uniform(-0.5, 0.5, batch).astype(np.float32)


OPERATIONS = ("flip", "jitter", "grayscale", "blur", "solarize")


def random_distortions(batch, seed=0):
    names = ("order", "brightness", "contrast", "saturation", "hue")
    rng = np.random.default_rng(seed)
    chosen = rng.random((5, batch)) < 0.5
    return {
        **dict(zip(names, random_jitter(batch, seed), strict=True)),
        **dict(zip(OPERATIONS, chosen, strict=True)),
        "sigma": rng.uniform(0.1, 2.0, batch).astype(np.float32),
    }
