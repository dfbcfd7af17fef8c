"""LARS and its schedule against the papers' formulas in NumPy."""

import keras
import ml_collections
import numpy as np
import pytest
import tensorflow as tf

from training.optimizers import LARS, TorchSGD, build_optimizer, is_vector, peak_learning_rate


@pytest.mark.parametrize("shape", [(4, 3), (3, 3, 2, 5)])
def test_lars_is_the_papers_for_three_steps(shape):
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=shape), rng.normal(size=3)
    variables = [keras.Variable(kernel, name="kernel"), keras.Variable(bias, name="bias")]
    optimizer = LARS(0.5, momentum=0.9, weight_decay=0.01, trust_coefficient=0.02, vector_rate=0.2)
    optimizer.build(variables)
    v_kernel, v_bias = np.zeros(shape), np.zeros(3)
    for _ in range(3):
        g_kernel, g_bias = rng.normal(size=shape), rng.normal(size=3)
        optimizer.apply([tf.constant(g, tf.float32) for g in (g_kernel, g_bias)], variables)
        decayed = g_kernel + 0.01 * kernel
        trust = 0.02 * np.sqrt((kernel**2).sum() / (decayed**2).sum())
        v_kernel = 0.9 * v_kernel + 0.5 * trust * decayed
        v_bias = 0.9 * v_bias + 0.2 * 0.5 * g_bias  # neither decayed nor adapted
        kernel, bias = kernel - v_kernel, bias - v_bias
    np.testing.assert_allclose(variables[0], kernel, atol=1e-5)
    np.testing.assert_allclose(variables[1], bias, atol=1e-5)


def test_biases_of_an_attention_are_vectors():
    attention = keras.layers.MultiHeadAttention(2, 4)
    attention.build((None, 3, 8), (None, 3, 8))
    assert [is_vector(v) for v in attention.weights] == 4 * [False, True]
    assert len(attention.weights[1].shape) == 2


def test_lars_of_a_zero_weight_or_gradient_is_finite():
    variable = keras.Variable(np.zeros((2, 2)))
    optimizer = LARS(0.1, weight_decay=0.0)
    optimizer.build([variable])
    optimizer.apply([tf.zeros((2, 2))], [variable])
    np.testing.assert_array_equal(variable, np.zeros((2, 2)))
    optimizer.apply([tf.ones((2, 2))], [variable])
    np.testing.assert_allclose(variable, -0.1 * np.ones((2, 2)))


def test_lars_round_trip():
    optimizer = LARS(0.5, momentum=0.8, weight_decay=0.3, trust_coefficient=0.1)
    again = LARS.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert (again.decay, again.momentum, again.trust_coefficient) == (0.3, 0.8, 0.1)


def test_sgd_is_pytorchs_under_a_changing_learning_rate():
    """v ← 0.9 v + (g + 0.01 w); w ← w - lr v: the learning rate is not inside the velocity."""
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(4, 3)), np.zeros((4, 3))
    variable = keras.Variable(w)
    rates = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1], [0.5, 0.1, 0.2])
    optimizer = TorchSGD(rates, momentum=0.9, weight_decay=0.01)
    optimizer.build([variable])
    for rate in (0.5, 0.1, 0.2):
        g = rng.normal(size=(4, 3))
        optimizer.apply([tf.constant(g, tf.float32)], [variable])
        v = 0.9 * v + g + 0.01 * w
        w = w - rate * v
    np.testing.assert_allclose(variable, w, atol=1e-5)
    again = TorchSGD.from_config(TorchSGD(0.1, momentum=0.8, weight_decay=0.3).get_config())
    assert (again.decay, again.momentum) == (0.3, 0.8)


def test_sgd_holds_the_rate_of_what_is_named():
    moving, held = keras.Variable([1.0], name="w"), keras.Variable([1.0], name="predictor_w")
    rates = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.1])
    optimizer = TorchSGD(rates, 0.0, 0.0, constant_for="predictor", constant_rate=0.5)
    optimizer.build([moving, held])
    for _ in range(2):
        optimizer.apply([tf.constant([0.1])] * 2, [moving, held])
    np.testing.assert_allclose([moving[0], held[0]], [1 - 0.05 - 0.01, 1 - 0.05 - 0.05], rtol=1e-6)
    assert TorchSGD.from_config(optimizer.get_config()).constant_for == "predictor"


def test_scaling():
    assert peak_learning_rate(0.3, "linear", 4096) == pytest.approx(4.8)
    assert peak_learning_rate(0.075, "sqrt", 4096) == pytest.approx(4.8)
    with pytest.raises(ValueError, match="learning_rate_scaling is 'quadratic'"):
        peak_learning_rate(1, "quadratic", 2)


def test_warm_up_and_cosine():
    config = ml_collections.ConfigDict(
        {
            "name": "lars",
            "learning_rate": 0.3,
            "learning_rate_scaling": "linear",
            "momentum": 0.9,
            "constant_for": "",
            "weight_decay": 1e-6,
            "warmup_epochs": 10,
            "end_learning_rate": 0.001,
            "vector_rate": 0.5,
        }
    )
    optimizer = build_optimizer(config, 512, total_steps=100, steps_per_epoch=2)
    rate = optimizer._learning_rate
    assert float(rate(0)) == 0
    assert float(rate(10)) == pytest.approx(0.3, rel=1e-5)  # half way up to 0.6
    assert float(rate(20)) == pytest.approx(0.6, rel=1e-5)
    assert float(rate(60)) == pytest.approx(0.3003, rel=1e-4)  # half way down to 0.0006
    assert float(rate(100)) == pytest.approx(0.6e-3, rel=1e-4)
    assert LARS.from_config(optimizer.get_config()).vector_rate == 0.5
    config.name = "sgdd"
    with pytest.raises(ValueError, match=r"optimizer\.name is 'sgdd'"):
        build_optimizer(config, 512, 100, 2)
