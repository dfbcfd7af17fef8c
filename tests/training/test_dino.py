"""DINO: loss, head and schedules by its authors' code, what moves and what does not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sassl_tf.vit import vision_transformer
from tests.training.test_byol_moco_simsiam import assert_equal, values
from tests.training.test_simclr import tiny_encoder, views
from training.methods.dino import (
    DINO,
    WeightNormDense,
    _projector,
    dino_loss,
    teacher_probabilities,
)


def dino(encoder=None, total_steps=10, steps_per_epoch=5, **arguments):
    keras.utils.set_random_seed(0)
    sizes = {"prototypes": 12, "hidden_dim": 16, "bottleneck_dim": 8, "base_momentum": 0.9}
    method = DINO(encoder or tiny_encoder(), total_steps, steps_per_epoch, **{**sizes, **arguments})
    # The published initial weights are for wide networks: the vectors that so narrow ones bring to
    # unit length are almost 0, and their gradients are in the thousands.
    rng = np.random.default_rng(0)
    weights = [0.5 * rng.normal(size=w.shape) for w in method.projector.get_weights()]
    for projector in (method.projector, method.teacher_projector):
        projector.set_weights(weights)
    return method


def crops(count, local=2):
    """A batch of two global crops of 16 px and small crops of 8 px."""
    batch = {side: tf.constant(view) for side, view in views(count).items()}
    rng = np.random.default_rng(1)
    if local:
        batch["local"] = tf.constant(rng.random((count, local, 8, 8, 3), np.float32))
    return batch


def any_size_encoder():
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def test_the_loss_has_the_number_of_the_published_code():
    """By facebookresearch/dino, main_dino.py, in float64, with a warm-up from 0.04 to 0.07."""
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(4, 3, 7)), 0.1 * rng.normal(size=(2, 3, 7))
    center = 0.05 * rng.normal(size=7)
    targets = teacher_probabilities(teacher, center.astype(np.float32), 0.05)
    local = np.moveaxis(student[2:], 0, 1)
    loss = dino_loss(targets, tf.constant(student[:2]), tf.constant(local), 0.1)
    np.testing.assert_allclose(loss, 11.757026142228119, rtol=1e-5)


def test_the_loss_is_the_mean_over_pairs_of_different_views():
    """Equation 3, one pair at a time."""
    rng = np.random.default_rng(0)
    student, targets = rng.normal(size=(5, 3, 7)), rng.dirichlet(np.ones(7), size=(2, 3))

    def cross_entropy(p, logits):
        log_q = logits / 0.1 - np.log(np.exp(logits / 0.1).sum())
        return -(p * log_q).sum()

    def literal(count):
        pairs = [
            np.mean([cross_entropy(targets[t, i], student[v, i]) for i in range(3)])
            for t in range(2)
            for v in range(count)
            if v != t
        ]
        return np.mean(pairs)

    p = targets.astype(np.float32)
    both, local = tf.constant(student[:2]), tf.constant(np.moveaxis(student[2:], 0, 1))
    np.testing.assert_allclose(dino_loss(p, both, local, 0.1), literal(5), rtol=1e-5)
    np.testing.assert_allclose(dino_loss(p, both, None, 0.1), literal(2), rtol=1e-5)


def test_the_head_has_the_numbers_of_the_published_code():
    """By facebookresearch/dino, vision_transformer.py, in float64 with the same weights."""
    projector, last = _projector(5, 8, 4), WeightNormDense(6)
    last.build((None, 4))
    shapes = {0: (5, 8), 1: (8,), 2: (8, 8), 3: (8,), 4: (8, 4), 5: (4,)}
    projector.set_weights(
        [np.random.default_rng(i).normal(size=shape) for i, shape in shapes.items()]
    )
    last.direction.assign(np.random.default_rng(7).normal(size=(4, 6)))
    logits = last(projector(np.random.default_rng(50).normal(size=(2, 5)).astype(np.float32)))
    expected = [
        [-0.50165109, -0.78155029, -0.32856299, 0.73365084, -0.52873373, 0.45238584],
        [-0.29360512, -0.92655028, -0.11247096, 0.74723336, -0.76761525, -0.20277311],
    ]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_the_schedules():
    """By main_dino.py: τ_t by epoch, and the last layer that waits."""
    method = dino(
        warmup_teacher_temperature=0.04,
        teacher_temperature=0.07,
        warmup_teacher_temperature_epochs=4,
    )
    method.compile(keras.optimizers.SGD(0.1))
    for step, expected in ((0, 0.04), (4, 0.04), (5, 0.05), (14, 0.06), (15, 0.07), (99, 0.07)):
        method.optimizer.iterations.assign(step)
        np.testing.assert_allclose(method.teacher_temperature(), expected, rtol=1e-6)
    assert method.frozen_steps == 5
    constant = dino(teacher_temperature=0.05)
    constant.compile(keras.optimizers.SGD(0.1))
    np.testing.assert_allclose(constant.teacher_temperature(), 0.05, rtol=1e-6)


@pytest.mark.parametrize("local", [0, 2])
def test_a_step_written_out(local):
    """The student descends, the teacher follows it, then the centre moves."""
    method = dino(any_size_encoder(), freeze_last_layer=0.0)
    method.compile(keras.optimizers.SGD(0.1))
    for variable in method.encoder.trainable_variables:
        variable.assign_add(0.01 * tf.ones_like(variable))  # so that the teacher is not the student
    center = 0.1 * np.arange(12, dtype=np.float32)
    method.center.assign(center)
    batch = crops(6, local)
    h = {side: method.encoder(batch[side], training=True) for side in ("left", "right")}
    logits = {side: method.teach(h[side]).numpy() for side in h}
    xi, before = values(method.encoder.variables), values(method.trainable_variables)
    smaller = [batch["local"][:, i] for i in range(local)]
    with tf.GradientTape() as tape:
        student = {
            number: method.last_layer(method.projector(method.student(view, training=True)))
            for number, view in enumerate([batch["left"], batch["right"], *smaller])
        }
        pairs = [
            tf.nn.softmax_cross_entropy_with_logits(
                tf.nn.softmax((logits[side] - center) / 0.04), student[v] / 0.1
            )
            for t, side in enumerate(("left", "right"))
            for v in student
            if v != t
        ]
        loss = tf.reduce_mean(pairs)
    gradients = tape.gradient(loss, method.trainable_variables)
    scalars = method.train_step(batch)
    np.testing.assert_allclose(scalars["loss"], loss, rtol=1e-5)
    moved = [b - 0.1 * g.numpy() for b, g in zip(before, gradients, strict=True)]
    assert_equal(values(method.trainable_variables), moved, atol=1e-5)
    followed = [0.9 * x + 0.1 * t for x, t in zip(xi, moved, strict=False)]
    assert_equal(values(method.encoder.variables), followed, atol=1e-6)
    mean = np.mean([logits["left"], logits["right"]], axis=(0, 1))
    np.testing.assert_allclose(method.center, 0.9 * center + 0.1 * mean, atol=1e-6)
    assert 0 < scalars["teacher_entropy"] < np.log(12)


def test_the_last_layer_waits_an_epoch():
    method = dino(freeze_last_layer=1.0, steps_per_epoch=2)
    method.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1))
    first, others = method.last_layer.direction.numpy(), values(method.student.variables)
    for _ in range(2):
        method.train_step(crops(4, local=0))
        np.testing.assert_array_equal(method.last_layer.direction, first)
    assert np.any(values(method.student.variables)[0] != others[0])
    method.train_step(crops(4, local=0))
    assert np.all(method.last_layer.direction.numpy() != first)
    lengths = np.linalg.norm(np.eye(8, dtype=np.float32) @ method.last_layer(np.eye(8)), axis=0)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    norm = method.last_layer.norm
    assert norm.path not in {v.path for v in method.trainable_variables}
    free = dino(norm_last_layer=False)
    assert free.last_layer.norm.path in {v.path for v in free.trainable_variables}


def test_the_teacher_has_no_drop_path():
    method = dino(vision_transformer("micro", 8, 16, drop_path=0.9))
    images = tf.constant(views(8)["left"])
    keras.utils.set_random_seed(0)
    student = method.student(images, training=True)
    first, second = (method.teach(method.encoder(images, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(student - method.student(images)).max() > 1e-3
    np.testing.assert_allclose(method.encoder(images, training=True), method.student(images))


@pytest.mark.slow
def test_it_learns():
    method = dino(any_size_encoder(), total_steps=160, steps_per_epoch=8, prototypes=32)
    method.compile(keras.optimizers.Adam(5e-3))
    data = {name: view.numpy() for name, view in crops(256).items()}
    data["local"] = np.stack([data["left"][:, :8, :8], data["right"][:, 8:, 8:]], axis=1)
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(32, drop_remainder=True)
    history = method.fit(dataset.repeat(10), epochs=2, verbose=0).history
    assert history["loss"][-1] < 0.9 * np.log(32) and history["spread"][-1] > 0.05
    assert history["teacher_entropy"][-1] < 0.9 * np.log(32)
