"""Every method's train step compiles with XLA, as a TPU needs it, and agrees with the plain one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sassl_tf.vit import vision_transformer
from tests.training.test_barlow_vicreg import barlow_twins, vicreg
from tests.training.test_byol_moco_simsiam import batch_normalized_encoder, byol, moco, simsiam
from tests.training.test_dino import crops, dino
from tests.training.test_moco_v3 import moco_v3
from tests.training.test_simclr import views
from training.methods.simclr import SimCLR


def simclr(encoder):
    return SimCLR(encoder, hidden_dim=16, projection_dim=8, temperature=0.5)


def moco_in_groups(encoder):
    return moco(encoder, batch_norm_groups=2)


def two_steps(make, jit_compile):
    keras.utils.set_random_seed(0)
    method = make(batch_normalized_encoder())
    method.compile(keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=False)
    method.optimizer.build(method.trainable_variables)
    step = tf.function(method.train_step, jit_compile=jit_compile)
    batch = {side: tf.constant(view) for side, view in views(8).items()}
    losses = [float(step(batch)["loss"]) for _ in range(2)]
    return losses, [variable.numpy() for variable in method.variables]


METHODS = [simclr, byol, moco_in_groups, simsiam]
# These share their parts with those before: `make test-all` tries them.
MORE_METHODS = [
    pytest.param(make, marks=pytest.mark.slow) for make in (barlow_twins, vicreg, moco_v3, dino)
]


# SimCLR's loss over the batch, and MoCo's momentum encoder, groups and queue.
COMPILED = [
    make if make in (simclr, moco_in_groups) else pytest.param(make, marks=pytest.mark.slow)
    for make in METHODS
]


@pytest.mark.parametrize("make", [*COMPILED, *MORE_METHODS])
def test_the_compiled_step_agrees(make):
    plain_losses, plain = two_steps(make, jit_compile=False)
    losses, compiled = two_steps(make, jit_compile=True)
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-4)
    for ours, theirs in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow
def test_multi_crop_on_a_vision_transformer_compiles():
    """Positions are interpolated within the program. (Drop path draws others under XLA.)"""
    batch = crops(4)

    def two_losses(jit_compile):
        keras.utils.set_random_seed(0)
        method = dino(vision_transformer("micro", 8, 16), freeze_last_layer=0.0)
        method.compile(keras.optimizers.SGD(0.01), jit_compile=False)
        method.optimizer.build(method.trainable_variables)
        step = tf.function(method.train_step, jit_compile=jit_compile)
        return [float(step(batch)["loss"]) for _ in range(2)]

    np.testing.assert_allclose(two_losses(True), two_losses(False), rtol=1e-3)
