"""SimCLR as a Keras model, and the encoders it trains."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.methods import build_method
from training.methods.contrastive import normalize, nt_xent
from training.methods.simclr import SimCLR


def tiny_encoder():
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def views(count=32):
    rng = np.random.default_rng(0)
    images = rng.random((count, 16, 16, 3), np.float32) * rng.random((count, 1, 1, 3), np.float32)
    noise = rng.normal(0, 0.05, (2, *images.shape)).astype(np.float32)
    return {"left": images + noise[0], "right": images + noise[1]}


def test_compile_and_fit_learn():
    keras.utils.set_random_seed(0)
    method = SimCLR(tiny_encoder(), hidden_dim=32, projection_dim=16, temperature=0.2)
    method.compile(keras.optimizers.Adam(5e-3))
    dataset = tf.data.Dataset.from_tensors(views()).repeat(40)
    history = method.fit(dataset, epochs=2, verbose=0).history
    assert history["loss"][-1] < 0.3 * np.log(2 * 32 - 1)  # of chance among 63 candidates
    assert history["contrastive_accuracy"][-1] > 0.5
    assert method.predict(views()["left"], verbose=0).shape == (32, 8)


def test_one_step_is_gradient_descent_on_nt_xent():
    """Against the loss written out apart, with plain SGD."""
    keras.utils.set_random_seed(0)
    method = SimCLR(tiny_encoder(), hidden_dim=8, projection_dim=4, temperature=0.5)
    method.compile(keras.optimizers.SGD(0.1))
    batch = {name: tf.constant(view) for name, view in views(6).items()}
    before = [variable.numpy() for variable in method.trainable_variables]
    with tf.GradientTape() as tape:
        x = tf.concat([batch["left"], batch["right"]], 0)
        z = normalize(method.projector(method.encoder(x, training=True), training=True))
        loss, _ = nt_xent(z[:6], z[6:], 0.5)
    gradients = tape.gradient(loss, method.trainable_variables)
    scalars = method.train_step(batch)
    np.testing.assert_allclose(scalars["loss"], loss, rtol=1e-5)
    for variable, start, gradient in zip(
        method.trainable_variables, before, gradients, strict=True
    ):
        np.testing.assert_allclose(variable, start - 0.1 * gradient, atol=1e-6)


def test_unknown_method():
    import ml_collections

    with pytest.raises(ValueError, match="simclr"):
        build_method(ml_collections.ConfigDict({"method": "simmclr"}), tiny_encoder(), 1, 1)
