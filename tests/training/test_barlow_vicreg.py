"""Barlow Twins and VICReg: their losses term by term, and by their authors' own code."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.test_simclr import tiny_encoder, views
from training.methods.barlow_twins import BarlowTwins, cross_correlation, terms
from training.methods.vicreg import VICReg, covariance, invariance, variance


def projections(n=8, d=6):
    """Two correlated sets of rows, whose losses are neither zero nor the largest."""
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    return left, 0.7 * left + 0.5 * right + 0.2


def barlow_twins(encoder=None):
    return BarlowTwins(encoder or tiny_encoder(), 16, 8, redundancy_weight=0.05)


def vicreg(encoder=None):
    # A 25th of the published weights, whose gradients are too large for the first scale of float16.
    return VICReg(encoder or tiny_encoder(), 16, 8, 1.0, 1.0, 0.04)


def float32(*arrays):
    return [array.astype(np.float32) for array in arrays]


def test_the_correlations_are_those_of_numpy():
    left, right = projections()
    found = cross_correlation(*float32(left, right))
    expected = np.corrcoef(left.T, right.T)[:6, 6:]
    np.testing.assert_allclose(found, expected, atol=1e-4)  # ε under the root is in neither
    on, off = terms(found)
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    np.testing.assert_allclose(on, sum((1 - expected[i, i]) ** 2 for i in range(6)), rtol=1e-3)
    np.testing.assert_allclose(off, sum(expected[p] ** 2 for p in pairs), rtol=1e-3)


def test_barlow_twins_has_the_numbers_of_the_published_code():
    """By facebookresearch/barlowtwins, main.py, in float64 on the same projections."""
    on, off = terms(cross_correlation(*float32(*projections())))
    np.testing.assert_allclose([on, off], [0.29669571413808227, 4.427269163306574], rtol=1e-5)


def test_the_terms_of_vicreg_are_the_papers():
    left, right = projections()
    z, other = float32(left, right)
    np.testing.assert_allclose(invariance(z, other), np.mean((left - right) ** 2), rtol=1e-5)
    hinge = [max(0, 1 - np.sqrt(np.var(column, ddof=1) + 1e-4)) for column in left.T]
    np.testing.assert_allclose(variance(z), np.mean(hinge), rtol=1e-5)
    c = np.cov(left.T)
    off = sum(c[i, j] ** 2 for i in range(6) for j in range(6) if i != j)
    np.testing.assert_allclose(covariance(z), off / 6, rtol=1e-5)


def test_vicreg_has_the_numbers_of_the_published_code():
    """By facebookresearch/vicreg, main_vicreg.py, in float64 on the same projections."""
    left, right = float32(*projections())
    found = [
        invariance(left, right),
        (variance(left) + variance(right)) / 2,
        covariance(left) + covariance(right),
    ]
    expected = [0.3602966345819299, 0.2076892747884582, 0.7092583240679975]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(np.dot([25, 25, 1], found), 14.9089060583277, rtol=1e-5)


@pytest.mark.parametrize("make", [barlow_twins, vicreg])
def test_a_step_descends_along_the_loss(make):
    """By plain SGD, against the loss of both projections written out."""
    keras.utils.set_random_seed(0)
    method = make()
    method.compile(keras.optimizers.SGD(0.01))
    batch = {side: tf.constant(view) for side, view in views(6).items()}
    before = [variable.numpy() for variable in method.trainable_variables]
    with tf.GradientTape() as tape:
        left, right = (
            method.projector(method.encoder(batch[side], training=True), training=True)
            for side in ("left", "right")
        )
        if make is barlow_twins:
            on, off = terms(cross_correlation(left, right))
            loss = on + 0.05 * off
        else:
            loss = invariance(left, right) + (variance(left) + variance(right)) / 2
            loss += 0.04 * (covariance(left) + covariance(right))
    gradients = tape.gradient(loss, method.trainable_variables)
    scalars = method.train_step(batch)
    np.testing.assert_allclose(scalars["loss"], loss, rtol=1e-5)
    for variable, start, gradient in zip(
        method.trainable_variables, before, gradients, strict=True
    ):
        np.testing.assert_allclose(variable, start - 0.01 * gradient, atol=1e-5)
