"""MoCo v3: its loss by its authors' code, what moves, what is frozen, and that it learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sassl_tf.vit import vision_transformer
from tests.training.test_byol_moco_simsiam import assert_equal, tensors, unit, values
from tests.training.test_simclr import tiny_encoder, views
from training.methods.contrastive import normalize
from training.methods.moco_v3 import MoCoV3, contrastive_loss


def moco_v3(encoder=None, **arguments):
    keras.utils.set_random_seed(0)
    options = {"hidden_dim": 16, "projection_dim": 8, "frozen_projection": False, **arguments}
    return MoCoV3(encoder or tiny_encoder(), total_steps=10, **options)


def test_the_loss_has_the_number_of_the_published_code():
    """By facebookresearch/moco-v3, moco/builder.py, in float64; and as a softmax written out."""
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(6, 5)), rng.normal(size=(6, 5))
    k = 0.5 * q + 0.5 * k
    loss, accuracy = contrastive_loss(*(normalize(x.astype(np.float32)) for x in (q, k)), 0.2)
    np.testing.assert_allclose(loss, 0.27731631515205285, rtol=1e-5)
    logits = unit(q) @ unit(k).T / 0.2
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loss, -0.4 * np.log(np.diag(softmax)).mean(), rtol=1e-5)
    np.testing.assert_allclose(accuracy, np.mean(logits.argmax(axis=1) == range(6)))


def test_a_step_written_out():
    """The momentum encoder follows before it makes the keys; then plain SGD on both losses."""
    method = moco_v3(base_momentum=0.9)
    method.compile(keras.optimizers.SGD(0.1))
    for variable in method.encoder.trainable_variables:
        variable.assign_add(0.1 * tf.ones_like(variable))
    batch = tensors(6)
    xi, theta = values(method.key_encoder.variables), values(method.encoder.variables)
    followed = [0.9 * x + 0.1 * t for x, t in zip(xi, theta, strict=True)]
    keys = moco_v3()  # another one, with the weights that the keys are made by
    keys.key_encoder.set_weights(followed)
    keys.key_projector.set_weights(method.key_projector.get_weights())
    k = {side: keys.key(batch[side]) for side in batch}
    before = values(method.trainable_variables)
    with tf.GradientTape() as tape:
        q = {side: method.query(method.encoder(batch[side], training=True)) for side in batch}
        losses = [
            contrastive_loss(q[side], k[other], 0.2)[0]
            for side, other in (("left", "right"), ("right", "left"))
        ]
        loss = losses[0] + losses[1]
    gradients = tape.gradient(loss, method.trainable_variables)
    scalars = method.train_step(batch)
    np.testing.assert_allclose(scalars["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(scalars["target_momentum"], 0.9, rtol=1e-6)
    moved = [b - 0.1 * g.numpy() for b, g in zip(before, gradients, strict=True)]
    assert_equal(values(method.trainable_variables), moved, atol=1e-5)
    assert_equal(values(method.key_encoder.variables), followed, atol=1e-6)


def test_the_heads_are_the_published_ones():
    """moco/builder.py: projectors of three and two layers, and the predictor's last BN."""
    of_vit = moco_v3()
    kinds = [type(layer).__name__ for layer in of_vit.projector.layers]
    hidden = ["Dense", "BatchNormalization", "ReLU"]
    assert kinds == [*hidden, *hidden, "Dense", "BatchNormalization"]
    last = of_vit.predictor.layers[-1]
    assert not last.center and not last.scale
    of_resnet = moco_v3(projector_layers=2, predictor_batch_norm=False)
    assert len(of_resnet.projector.layers) == 5
    assert [type(layer).__name__ for layer in of_resnet.predictor.layers] == [*hidden, "Dense"]
    assert not any("bias" in v.path for v in of_resnet.projector.trainable_variables)


def test_the_patch_projection_is_frozen_and_nothing_else():
    method = moco_v3(vision_transformer("micro", 8, 16), frozen_projection=True)
    left_out = {v.path for v in method.encoder.trainable_variables}
    left_out -= {v.path for v in method.trainable_variables}
    assert left_out == {"patch_projection/kernel", "patch_projection/bias"}
    method.compile(keras.optimizers.SGD(0.1))
    projection = method.encoder.get_layer("patch_projection").get_weights()
    block = method.encoder.get_layer("block0_mlp1").get_weights()
    method.train_step(tensors(4))
    assert_equal(method.encoder.get_layer("patch_projection").get_weights(), projection)
    assert np.any(method.encoder.get_layer("block0_mlp1").get_weights()[0] != block[0])
    with pytest.raises(ValueError, match="frozen_projection=False"):
        moco_v3(frozen_projection=True)


@pytest.mark.slow
def test_it_learns():
    method = moco_v3()
    method.compile(keras.optimizers.Adam(5e-3))
    dataset = tf.data.Dataset.from_tensor_slices(views(256)).batch(32, drop_remainder=True)
    history = method.fit(dataset.repeat(10), epochs=2, verbose=0).history
    # Chance is 4τ·log 32.
    assert history["loss"][-1] < 0.6 * 4 * 0.2 * np.log(32)
    assert history["spread"][-1] > 0.05
