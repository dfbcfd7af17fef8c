"""Fine-tuning in float16: gradients that are too small for it still train."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from evaluation import dense, finetune, segment
from evaluation.loss_scale import computes_in_float16
from sassl_tf.datasets.scenes import scenes

TINY = 1e-9  # a gradient; the least that float16 has is 6e-8


def line(dtype):
    """A model within a model, whose output is w·x."""
    image = keras.Input((4, 4, 3))
    pooled = keras.layers.GlobalAveragePooling2D(dtype="float32")(image)
    inner_in = keras.Input((3,))
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", dtype=dtype)
    inner = keras.Model(inner_in, layer(inner_in))
    return keras.Model(image, inner(pooled))


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_detector_learns_from_small_gradients(dtype):
    model = line(dtype)
    assert computes_in_float16(model) == (dtype == "mixed_float16")
    data = scenes(count=4, size=32)
    subject = dense.DenseSubject("", model, "shapes", data, data, None, 32)
    settings = segment.Settings(steps=1, batch_size=4, learning_rate=1 / TINY, weight_decay=0.0)
    model_input = tf.ones((1, 4, 4, 3))

    def loss(_):
        return TINY * tf.cast(tf.reduce_sum(model(model_input, training=True)), tf.float32)

    dense.fine_tune(model, loss, subject, settings, 0, segment.DROPS)
    # The first step is of a twentieth of the rate, down a gradient of TINY for each weight.
    np.testing.assert_allclose(1 - model.trainable_variables[0], 0.05, rtol=0.02)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_classifier_learns_from_small_gradients(dtype):
    model = line(dtype)
    outputs = keras.layers.Dense(
        2, kernel_initializer=keras.initializers.Constant([[TINY, 0.0]]), dtype="float32"
    )(model.outputs[0])
    classifier = keras.Model(model.inputs, outputs)
    step = finetune._training_step(classifier, 1 / TINY, 0.0, steps=10)
    step(tf.ones((2, 4, 4, 3)), tf.constant([1, 1]))
    # The gradient of the loss is p·TINY for each weight, with p = 1/2; Nesterov: 1.9 of it.
    np.testing.assert_allclose(1 - model.trainable_variables[0], 1.9 / 2, rtol=0.02)
