"""A stylizer of few weights, for tests of what surrounds F and T: it traces in a moment."""

import functools

import keras
import numpy as np
from keras import layers, ops

from sassl_tf import StyleBank
from sassl_tf.stylizers import Stylizer
from sassl_tf.stylizers.precision import float32_policy


@functools.cache
def tiny_stylizer():
    """Returns F, of images of 16 px to codes of 4 numbers, and T, a convolution that they scale."""

    def drawn(seed, stddev=0.3):
        return keras.initializers.RandomNormal(stddev=stddev, seed=seed)

    with float32_policy():
        style = keras.Input((16, 16, 3))
        x = layers.Conv2D(8, 3, strides=2, activation="relu", kernel_initializer=drawn(0))(style)
        x = layers.GlobalAveragePooling2D(dtype="float32")(x)
        code = layers.Dense(4, kernel_initializer=drawn(1, 2.0), dtype="float32")(x)

        content, given = keras.Input((None, None, 3)), keras.Input((4,))
        y = layers.Conv2D(8, 3, padding="same", activation="relu", kernel_initializer=drawn(2))(
            content
        )
        gamma = layers.Dense(8, kernel_initializer=drawn(3, 1.0), dtype="float32")(given)
        y = ops.cast(y, "float32") * gamma[:, None, None]
        y = layers.Conv2D(3, 3, padding="same", kernel_initializer=drawn(4, 1.0))(y)
        picture = ops.sigmoid(ops.cast(y, "float32"))
        networks = keras.Model(style, code), keras.Model([content, given], picture)
    return Stylizer("tiny", *networks, 16)


@functools.cache
def tiny_bank():
    """Returns the codes of 20 images of noise."""
    images = np.random.default_rng(0).random((20, 16, 16, 3), np.float32)
    stylizer = tiny_stylizer()
    return StyleBank(stylizer.encode_style(images), stylizer.fingerprint)
