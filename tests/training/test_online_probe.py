"""The online probe: softmax regression by hand, and an encoder that does not notice it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.test_byol_moco_simsiam import batch_normalized_encoder
from tests.training.test_simclr import views
from tests.training.test_xla import METHODS, MORE_METHODS
from training.engine.assembly import online_probe
from training.engine.checkpoints import Checkpoints, state_of
from training.engine.loop import compiled_step
from training.methods.online_probe import OnlineProbe

LABELS = np.array([0, 0, 1, 2, -1, 0, 2, 1])


def trained(make, probed, steps=3):
    """Returns the weights of a method after some steps, and the last step's scalars."""
    keras.utils.set_random_seed(0)
    method = make(batch_normalized_encoder())
    method.compile(keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=False)
    method.optimizer.build(method.trainable_variables)
    probe = OnlineProbe(method.encoder.output_shape[-1], 3) if probed else None
    step = compiled_step(method, tf.distribute.get_strategy(), probe=probe)
    batch = {side: tf.constant(view) for side, view in views(8).items()}
    for _ in range(steps):
        scalars = step({**batch, "label": tf.constant(LABELS)})
    return [variable.numpy() for variable in method.variables], scalars


SIMCLR, BYOL, MOCO, SIMSIAM = METHODS
# `make test-all` tries the others, which take the features in the same way.
SLOW = [pytest.param(make, marks=pytest.mark.slow) for make in (BYOL, SIMSIAM)]


@pytest.mark.parametrize("make", [SIMCLR, MOCO, *SLOW, *MORE_METHODS])
def test_the_encoder_is_the_same_to_the_bit(make):
    without, plain = trained(make, probed=False)
    beside, scalars = trained(make, probed=True)
    for ours, theirs in zip(beside, without, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert float(scalars["loss"]) == float(plain["loss"])
    assert set(scalars) - set(plain) == {"probe_loss", "probe_accuracy"}
    assert 0 < float(scalars["probe_loss"]) < np.log(3)  # it learns: zero weights give log 3


def test_a_step_is_softmax_regression_by_hand():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(8, 5)).astype(np.float32)
    probe = OnlineProbe(5, 3)
    observe = probe.observer(tf.constant(LABELS))
    scalars = observe(tf.constant(features))
    labelled = LABELS >= 0
    # Zero weights decide for class 0, which three of seven images have.
    assert float(scalars["probe_accuracy"]) == pytest.approx(100 * 3 / 7)
    assert float(scalars["probe_loss"]) == pytest.approx(np.log(3), rel=1e-6)
    residual = np.full((7, 3), 1 / 3) - np.eye(3)[LABELS[labelled]]
    gradient = features[labelled].T @ residual / 7
    # Adam's first step is the learning rate times g / (|g| + ε).
    expected = -1e-3 * gradient / (np.abs(gradient) + 1e-7)
    weights = probe.classifier.kernel.numpy()
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    # The second accuracy, and the mean of both with weights 0.98 and 1.
    bias = probe.classifier.bias.numpy()
    found = (features @ weights + bias).argmax(axis=1)[labelled]
    second = 100 * np.mean(found == LABELS[labelled])
    mean = (0.98 * 100 * 3 / 7 + second) / 1.98
    assert float(observe(tf.constant(features))["probe_accuracy"]) == pytest.approx(mean, rel=1e-5)


def test_a_batch_without_labels_does_not_count():
    probe, features = OnlineProbe(5, 3), tf.ones((8, 5))
    labels = [LABELS, np.full(8, -1), np.full(8, -1), LABELS]
    found = [probe.observer(tf.constant(batch))(features)["probe_accuracy"] for batch in labels]
    # The features are all the same, and class 0 is the most frequent from the first step on.
    np.testing.assert_allclose(found, 100 * 3 / 7, rtol=1e-5)


def test_no_gradient_reaches_the_features():
    features = tf.Variable(tf.ones((8, 5)))
    with tf.GradientTape() as tape:
        loss = OnlineProbe(5, 3).observer(tf.constant(LABELS))(features)["probe_loss"]
    assert tape.gradient(loss, features) is None


def test_images_without_labels_have_none():
    class Unlabelled:
        class_names = ()

    assert online_probe(batch_normalized_encoder(), Unlabelled()) is None


def test_checkpoints_from_before_the_probe_are_read(tmp_path):
    method = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    method.compile(keras.optimizers.SGD(0.1))
    method.optimizer.build(method.trainable_variables)
    Checkpoints(tmp_path, state_of(method)).save(7)
    probe = OnlineProbe(2, 3)
    checkpoints = Checkpoints(tmp_path, state_of(method, probe))
    assert checkpoints.restore() == 7
    probe.observer(tf.constant([0, 1]))(tf.ones((2, 2)))
    before = [variable.numpy() for variable in [*probe.variables, *probe.optimizer.variables]]
    checkpoints.save(8)
    again = OnlineProbe(2, 3)
    assert Checkpoints(tmp_path, state_of(method, again)).restore() == 8
    after = [variable.numpy() for variable in [*again.variables, *again.optimizer.variables]]
    assert any(np.any(value) for value in before)
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
