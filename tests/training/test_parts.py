"""Gradient accumulation: a step in parts is the step of the whole batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sassl_tf.datasets.shapes import shapes
from tests.training.test_byol_moco_simsiam import assert_equal, byol, moco, simsiam, values
from tests.training.test_dino import any_size_encoder, crops, dino
from tests.training.test_moco_v3 import moco_v3
from tests.training.test_simclr import tiny_encoder
from training.configs.simclr import get_config
from training.engine.loop import compiled_step
from training.input.pipeline import view_batches
from training.methods.parts import WHOLE, Part, Sums, parts_of


@pytest.fixture
def no_batch_norm(monkeypatch):
    """Normalises each image by itself; batch normalisation is over the images of a part."""
    norm = keras.layers.LayerNormalization
    monkeypatch.setattr(
        keras.layers, "BatchNormalization", lambda **options: norm(epsilon=options["epsilon"])
    )


def trained(make, parts, steps=2):
    """The weights and the losses of steps of 8 images."""
    keras.utils.set_random_seed(0)
    method = make()
    method.compile(keras.optimizers.SGD(0.05, momentum=0.9))
    method.optimizer.build(method.trainable_variables)
    method.gradient_sums = Sums(method.trainable_variables)
    losses = []
    for step in range(steps):
        batch = {name: view + 0.1 * step for name, view in crops(8).items()}
        of_step = []
        for number, part in enumerate(parts_of(parts)):
            share = slice(number * 8 // parts, (number + 1) * 8 // parts)
            images = {name: view[share] for name, view in batch.items()}
            of_step.append(float(method.train_step(images, part=part)["loss"]))
        losses.append(np.mean(of_step))
    assert int(method.optimizer.iterations) == steps
    return values(method.variables), losses


def dino_of_any_size():
    return dino(any_size_encoder(), freeze_last_layer=0.0)


@pytest.mark.parametrize("make", [byol, simsiam, dino_of_any_size])
def test_the_weights_are_those_of_the_whole_batch(make, no_batch_norm):
    whole, losses = trained(make, 1)
    in_parts, losses_of_parts = trained(make, 4)
    np.testing.assert_allclose(losses_of_parts, losses, rtol=1e-4)
    assert_equal(in_parts, whole, atol=2e-5)


@pytest.mark.parametrize("make", [moco, moco_v3])
def test_the_momentum_encoder_follows_once_a_step(make):
    """Before the first part; the queue takes the keys of each."""
    method = make()
    method.compile(keras.optimizers.SGD(0.1))
    method.gradient_sums = Sums(method.trainable_variables)
    for variable in method.encoder.trainable_variables:
        variable.assign_add(0.1 * tf.ones_like(variable))
    first, last = parts_of(2)
    before = values(method.key_encoder.variables)
    method.train_step({s: v[:4] for s, v in crops(8, local=0).items()}, part=first)
    followed = values(method.key_encoder.variables)
    assert np.any(followed[0] != before[0])
    method.train_step({s: v[4:] for s, v in crops(8, local=0).items()}, part=last)
    assert_equal(values(method.key_encoder.variables), followed)
    assert make is moco_v3 or int(method.pointer) == 8


def test_the_parts_of_a_step():
    assert parts_of(1) == [WHOLE]
    assert parts_of(3) == [Part(True, False, 3), Part(False, False, 3), Part(False, True, 3)]


def small_config():
    config = get_config("smoke")
    config.image_size, config.batch_size = 16, 8
    return config


@pytest.mark.slow
def test_the_parts_of_a_batch_are_its_images():
    """In their order, from any step on."""
    config, images = small_config(), shapes("train", count=40, size=24)
    whole = next(view_batches(images, config, start_step=3).as_numpy_iterator())
    config.accumulate = 2
    parts = list(view_batches(images, config, start_step=3).take(2).as_numpy_iterator())
    for name, expected in whole.items():
        np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), expected)


@pytest.mark.slow
def test_each_host_makes_its_own_images_of_each_part():
    config, images = small_config(), shapes("train", count=40, size=24)
    whole = next(view_batches(images, config, start_step=3).as_numpy_iterator())
    config.accumulate = 2
    hosts = [
        list(view_batches(images, config, start_step=3, share=(n, 2)).take(2).as_numpy_iterator())
        for n in range(2)
    ]
    of_hosts = [hosts[host][part]["left"] for part in range(2) for host in range(2)]
    np.testing.assert_array_equal(np.concatenate(of_hosts), whole["left"])


@pytest.mark.slow
def test_a_compiled_step_in_parts():
    """By tf.function, one for each kind of part, against eager steps."""
    found = {}
    for compiled in (True, False):
        keras.utils.set_random_seed(0)
        method = simsiam(tiny_encoder())
        method.compile(keras.optimizers.SGD(0.1))
        method.optimizer.build(method.trainable_variables)
        method.gradient_sums = Sums(method.trainable_variables)
        step = compiled_step(method, tf.distribute.get_strategy())
        step = step if compiled else method.train_step
        for number, part in enumerate(parts_of(3)):
            step({s: v[4 * number :][:4] for s, v in crops(12, local=0).items()}, part=part)
        found[compiled] = values(method.variables)
    assert_equal(found[True], found[False], atol=1e-5)
