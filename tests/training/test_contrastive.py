"""NT-Xent and its measures against slow, literal versions of the papers' formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.methods.contrastive import alignment, normalize, nt_xent, uniformity


def unit_rows(seed, n=5, d=7):
    z = np.random.default_rng(seed).normal(size=(n, d))
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


def literal_nt_xent(z_left, z_right, temperature):
    """Equation 1 of the SimCLR paper, one anchor at a time."""
    z = np.concatenate([z_left, z_right]).astype(np.float64)
    n, losses, hits = len(z_left), [], 0
    for i in range(2 * n):
        positive = (i + n) % (2 * n)
        similarity = {k: z[i] @ z[k] / temperature for k in range(2 * n) if k != i}
        denominator = sum(np.exp(s) for s in similarity.values())
        losses.append(-np.log(np.exp(similarity[positive]) / denominator))
        hits += max(similarity, key=similarity.get) == positive
    return np.mean(losses), hits / (2 * n)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_nt_xent_is_the_papers(temperature):
    z_left, z_right = unit_rows(0), unit_rows(1)
    loss, accuracy = nt_xent(z_left, z_right, temperature)
    expected_loss, expected_accuracy = literal_nt_xent(z_left, z_right, temperature)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(accuracy, expected_accuracy, atol=1e-6)


def test_two_replicas_give_the_loss_and_gradients_of_one():
    """The gather, by hand: each replica's loss over its own anchors and everybody's candidates."""
    from training.methods import contrastive

    z_left, z_right = tf.constant(unit_rows(2, 6)), tf.constant(unit_rows(3, 6))
    with tf.GradientTape() as tape:
        tape.watch([z_left, z_right])
        loss, _ = nt_xent(z_left, z_right, 0.2)
    expected = tape.gradient(loss, [z_left, z_right])

    shared = {}
    with pytest.MonkeyPatch.context() as patch, tf.GradientTape() as tape:
        tape.watch([z_left, z_right])
        total = 0.0
        for replica in range(2):
            rows = slice(3 * replica, 3 * replica + 3)
            own_left, own_right = z_left[rows], z_right[rows]
            shared = {id(own_left): z_left, id(own_right): z_right}
            patch.setattr(contrastive, "global_batch", lambda x, shared=shared: shared[id(x)])
            patch.setattr(contrastive, "replicas", lambda replica=replica: (replica, 2))
            total = total + nt_xent(own_left, own_right, 0.2)[0] / 2
    np.testing.assert_allclose(total, loss, rtol=1e-5)
    for ours, theirs in zip(tape.gradient(total, [z_left, z_right]), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_alignment_and_uniformity_by_hand():
    z_left, z_right = unit_rows(4), unit_rows(5)
    pairs = [np.sum((a - b) ** 2) for a, b in zip(z_left, z_right, strict=True)]
    np.testing.assert_allclose(alignment(z_left, z_right), np.mean(pairs), rtol=1e-5)
    kernel = [
        np.exp(-2 * np.sum((z_left[i] - z_left[j]) ** 2))
        for i in range(5)
        for j in range(5)
        if i != j
    ]
    np.testing.assert_allclose(uniformity(z_left), np.log(np.mean(kernel)), rtol=1e-4)
    assert float(uniformity(np.tile(z_left[:1], (4, 1)))) == pytest.approx(0, abs=1e-5)


def test_normalize_works_in_float32():
    z = keras.ops.cast(np.full((2, 3), 1e-3), "float16")
    unit = normalize(z)
    assert keras.backend.standardize_dtype(unit.dtype) == "float32"
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-3)
