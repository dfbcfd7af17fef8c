"""BYOL, MoCo v2 and SimSiam: losses by hand, what moves and what does not, and that they learn."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.test_simclr import tiny_encoder, views
from training.engine.checkpoints import Checkpoints, state_of
from training.methods.byol import BYOL, regression_loss
from training.methods.contrastive import normalize, spread
from training.methods.moco import MoCo, info_nce
from training.methods.momentum import follow, target_momentum, twin
from training.methods.simsiam import SimSiam, distance
from training.optimizers import LARS


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random_rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def batch_normalized_encoder():
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(8, 3, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def byol(encoder=None, **arguments):
    keras.utils.set_random_seed(0)
    sizes = {"total_steps": 10, "hidden_dim": 16, "projection_dim": 8, "base_momentum": 0.9}
    return BYOL(encoder or tiny_encoder(), **{**sizes, **arguments})


def moco(encoder=None, **arguments):
    keras.utils.set_random_seed(0)
    sizes = {"hidden_dim": 16, "projection_dim": 8, "queue_size": 24, "momentum": 0.9}
    method = MoCo(encoder or tiny_encoder(), **{**sizes, "batch_norm_groups": 1, **arguments})
    return method


def simsiam(encoder=None):
    keras.utils.set_random_seed(0)
    return SimSiam(encoder or tiny_encoder(), hidden_dim=32, projection_dim=8)


def tensors(count):
    return {name: tf.constant(view) for name, view in views(count).items()}


def values(variables):
    return [variable.numpy() for variable in variables]


def assert_equal(actual, expected, **tolerance):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, **tolerance)


# The twin.


def test_follow_moves_parameters_and_no_statistics():
    online = batch_normalized_encoder()
    target = twin(online)
    assert_equal(values(target.variables), values(online.variables))
    for variable in online.variables:
        variable.assign_add(tf.ones_like(variable))
    before = values(target.non_trainable_variables)
    expected = [
        0.9 * xi.numpy() + 0.1 * theta.numpy()
        for xi, theta in zip(target.trainable_variables, online.trainable_variables, strict=True)
    ]
    follow(target, online, 0.9)
    assert_equal(values(target.trainable_variables), expected, rtol=1e-6)
    assert_equal(values(target.non_trainable_variables), before)


def test_a_twin_without_dropout_has_none_in_other_layers_either():
    x = keras.Input((4, 8))
    y = keras.layers.MultiHeadAttention(2, 4, dropout=0.5)(x, x)
    for dropping in (keras.layers.GaussianDropout, keras.layers.SpatialDropout1D):
        y = dropping(0.5)(y)
    network = keras.Model(x, y)
    images = np.random.default_rng(0).random((2, 4, 8), np.float32)
    expected = network(images, training=False)
    assert np.abs(network(images, training=True) - expected).max() > 0.1
    np.testing.assert_allclose(twin(network, dropout=False)(images, training=True), expected)


# BYOL.


def test_the_schedule_of_tau():
    """Section 3.3: τ_base at the start, 1 at the end, half way between them half way."""
    for step, expected in ((0, 0.96), (50, 0.98), (100, 1.0)):
        np.testing.assert_allclose(target_momentum(0.96, step, 100), expected, rtol=1e-6)
    quarter = 1 - 0.04 * (np.cos(np.pi / 4) + 1) / 2
    np.testing.assert_allclose(target_momentum(0.96, 25, 100), quarter, rtol=1e-6)


def test_the_regression_loss_is_two_minus_twice_the_cosine():
    q, z = random_rows(5, 8), random_rows(5, 8, seed=1)
    expected = 2 - 2 * np.sum(unit(q) * unit(z), axis=1)
    np.testing.assert_allclose(regression_loss(q, z), expected, rtol=1e-5)


def test_a_byol_step_written_out():
    """With plain SGD: the loss of both directions, θ's step, then ξ's."""
    method = byol()
    method.compile(keras.optimizers.SGD(0.1))
    for variable in method.target_encoder.trainable_variables:
        variable.assign_add(0.01 * tf.ones_like(variable))  # so that ξ is not θ
    batch = tensors(6)
    theta, xi = values(method.trainable_variables), values(method.target_encoder.variables)

    def project(encoder, projector, side):
        return projector(encoder(batch[side], training=True), training=True)

    targets = {s: project(method.target_encoder, method.target_projector, s) for s in batch}
    with tf.GradientTape() as tape:
        left = method.predictor(project(method.encoder, method.projector, "left"), training=True)
        right = method.predictor(project(method.encoder, method.projector, "right"), training=True)
        loss = tf.reduce_mean(
            4
            - 2 * tf.reduce_sum(normalize(left) * normalize(targets["right"]), 1)
            - 2 * tf.reduce_sum(normalize(right) * normalize(targets["left"]), 1)
        )
    gradients = tape.gradient(loss, method.trainable_variables)
    scalars = method.train_step(batch)
    np.testing.assert_allclose(scalars["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(scalars["target_momentum"], 0.9, rtol=1e-6)
    moved = [t - 0.1 * g.numpy() for t, g in zip(theta, gradients, strict=True)]
    assert_equal(values(method.trainable_variables), moved, atol=1e-6)
    followed = [
        0.9 * x + 0.1 * t.numpy() for x, t in zip(xi, method.encoder.variables, strict=True)
    ]
    assert_equal(values(method.target_encoder.variables), followed, atol=1e-6)


def test_the_target_has_no_gradients():
    method = byol()
    names = {id(v) for v in method.trainable_variables}
    targets = method.target_encoder.variables + method.target_projector.variables
    assert not names & {id(v) for v in targets}
    assert names < {id(v) for v in method.variables}


@pytest.mark.slow
def test_byol_without_predictor_or_stop_gradient_collapses():
    """Both are what keeps its representation apart (sections 3.2 and 5)."""

    def spread_after_training(predictor, stop_gradient):
        method = byol(batch_normalized_encoder(), total_steps=10**6, base_momentum=0.9)
        batch = tensors(32)
        optimizer = keras.optimizers.Adam(3e-3)
        variables = method.trainable_variables

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                z = {s: method.projector(method.encoder(batch[s], training=True)) for s in batch}
                q = {s: method.predictor(z[s], training=True) if predictor else z[s] for s in z}
                t = {s: method.target(batch[s]) if stop_gradient else z[s] for s in z}
                loss = tf.reduce_mean(regression_loss(q["left"], t["right"]))
                loss += tf.reduce_mean(regression_loss(q["right"], t["left"]))
            gradients = tape.gradient(loss, variables)
            pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
            optimizer.apply_gradients(pairs)
            follow(method.target_encoder, method.encoder, 0.9)
            follow(method.target_projector, method.projector, 0.9)
            return spread(normalize(z["left"]))

        for _ in range(300):
            measured = step()
        return float(measured)

    whole = spread_after_training(predictor=True, stop_gradient=True)
    bare = spread_after_training(predictor=False, stop_gradient=False)
    assert whole > 3 * bare, (whole, bare)


# MoCo.


def test_info_nce_is_a_softmax_over_key_and_queue():
    q, k, queue = (unit(random_rows(n, 8, seed=n)) for n in (4, 5, 24))
    k = k[:4]
    loss, accuracy = info_nce(q, k, queue, 0.2)
    losses, hits = [], []
    for i in range(4):
        logits = np.array([q[i] @ k[i], *(q[i] @ row for row in queue)]) / 0.2
        losses.append(-np.log(np.exp(logits[0]) / np.exp(logits).sum()))
        hits.append(np.argmax(logits) == 0)
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(accuracy, np.mean(hits))


def test_the_key_encoder_moves_before_it_encodes_and_the_queue_is_a_ring():
    method = moco()
    method.compile(keras.optimizers.SGD(0.1))
    for variable in method.encoder.trainable_variables:
        variable.assign_add(0.1 * tf.ones_like(variable))
    batch, queue = tensors(8), method.queue.numpy()
    xi, theta = values(method.key_encoder.variables), values(method.encoder.variables)
    method.train_step(batch)
    moved = [0.9 * x + 0.1 * t for x, t in zip(xi, theta, strict=True)]  # by θ before its step
    assert_equal(values(method.key_encoder.variables), moved, atol=1e-6)
    keys = normalize(method.key_projector(method.key_encoder(batch["right"]))).numpy()
    np.testing.assert_allclose(method.queue[:8], keys, atol=1e-5)
    np.testing.assert_array_equal(method.queue[8:], queue[8:])
    for expected in (16, 0, 8):
        method.train_step(batch)
        assert int(method.pointer.numpy()) == expected
    assert np.abs(np.linalg.norm(method.queue, axis=1) - 1).max() < 1e-5


def test_shuffling_changes_the_groups_and_not_the_order_of_keys():
    """Without batch norm, groups and order do not matter: keys come back in the images' order."""
    batch = tensors(8)["right"]
    method = moco(batch_norm_groups=4)
    method.compile(keras.optimizers.SGD(0.1))
    plain = normalize(method.key_projector(method.key_encoder(batch)))
    np.testing.assert_allclose(method._keys(batch), plain, atol=1e-6)
    # With it, a key's statistics are those of other images than its query's.
    method = moco(batch_normalized_encoder(), batch_norm_groups=4)
    method.compile(keras.optimizers.SGD(0.1))
    in_order = method._encode_in_groups(method.key_encoder, method.key_projector, batch)
    assert np.abs(method._keys(batch) - in_order).max() > 1e-3


def test_a_batch_that_does_not_fit_the_queue_or_the_groups():
    method = moco(queue_size=20)
    method.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="multiple of the global batch, 8"):
        method.train_step(tensors(8))
    fit_one = tf.data.Dataset.from_tensor_slices(views(8)).batch(8)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        method.fit(fit_one, verbose=0)
    method = moco(batch_norm_groups=8)
    method.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="leaves several images a group"):
        method.train_step(tensors(8))


# SimSiam.


def test_a_simsiam_step_written_out():
    """L = D(p1, stopgrad z2)/2 + D(p2, stopgrad z1)/2, and plain SGD."""
    method = simsiam()
    method.compile(keras.optimizers.SGD(0.1))
    batch, before = tensors(6), values(method.trainable_variables)
    held = {s: method.projector(method.encoder(batch[s]), training=True).numpy() for s in batch}
    with tf.GradientTape() as tape:
        p = {}
        for side in batch:
            z = method.projector(method.encoder(batch[side], training=True), training=True)
            p[side] = method.predictor(z, training=True)
        cosines = [
            tf.reduce_sum(tf.math.l2_normalize(p[s], 1) * unit(held[other]), 1)
            for s, other in (("left", "right"), ("right", "left"))
        ]
        loss = -tf.reduce_mean(cosines)
    gradients = tape.gradient(loss, method.trainable_variables)
    np.testing.assert_allclose(method.train_step(batch)["loss"], loss, rtol=1e-5)
    moved = [b - 0.1 * g.numpy() for b, g in zip(before, gradients, strict=True)]
    assert_equal(values(method.trainable_variables), moved, atol=1e-6)


def test_the_distance_of_equal_and_opposite_directions():
    rows = random_rows(5, 8)
    np.testing.assert_allclose(distance(rows, 3 * rows), -1, rtol=1e-6)
    np.testing.assert_allclose(distance(rows, -rows), 1, rtol=1e-6)


# All.


@pytest.mark.parametrize(
    "make",
    [
        lambda: byol(total_steps=600),
        pytest.param(lambda: moco(batch_norm_groups=4, queue_size=64), marks=pytest.mark.slow),
        pytest.param(simsiam, marks=pytest.mark.slow),
    ],
)
def test_they_learn(make):
    method = make()
    method.compile(keras.optimizers.Adam(5e-3))
    dataset = (
        tf.data.Dataset.from_tensor_slices(views(256)).batch(32, drop_remainder=True).repeat(25)
    )
    first = float(method.train_step(next(iter(dataset)))["loss"])
    history = method.fit(dataset, epochs=3, verbose=0).history
    first, last = max(first, history["loss"][0]), history["loss"][-1]
    assert last < first - 0.15 * abs(first)  # SimSiam's goes down to -1, the others' to 0
    assert history["spread"][-1] > 0.05
    assert method.predict(views()["left"], verbose=0).shape == (32, 8)


@pytest.mark.parametrize(
    "make",
    [
        byol,
        lambda encoder: moco(encoder, batch_norm_groups=2),
        pytest.param(simsiam, marks=pytest.mark.slow),  # which has no state beside these
    ],
)
def test_a_checkpoint_has_all_of_their_state(make, tmp_path):
    """Two steps, a checkpoint, two steps; and the last two again from the checkpoint."""

    def compiled():
        encoder = batch_normalized_encoder()
        encoder.add(keras.layers.Dropout(0.2))  # which has a random state of its own
        method = make(encoder)
        optimizer = LARS(0.1)
        optimizer.build(method.trainable_variables)
        method.compile(optimizer)
        return method

    def train(method, seeds):
        for seed in seeds:
            noise = 0.1 * random_rows(8, 16, 16, 3, seed=seed)
            method.train_step({name: view + noise for name, view in tensors(8).items()})

    straight, resumed = compiled(), compiled()
    train(straight, (0, 1))
    Checkpoints(tmp_path, state_of(straight)).save(2)
    train(straight, (2, 3))
    train(resumed, (7,))  # so that nothing is right by chance
    assert Checkpoints(tmp_path, state_of(resumed)).restore() == 2
    train(resumed, (2, 3))
    assert_equal(values(resumed.variables), values(straight.variables))
    assert_equal(values(resumed.optimizer.variables), values(straight.optimizer.variables))
