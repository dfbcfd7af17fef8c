"""LARS and its schedule against the papers' formulas in NumPy."""

import keras
import ml_collections
import numpy as np
import pytest
import tensorflow as tf

from training.optimizers import (
    LARS,
    AdamW,
    TorchSGD,
    build_optimizer,
    is_vector,
    peak_learning_rate,
)


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
    with pytest.raises(ValueError, match=r"'predictr', and no weight has it.*w, predictor_w"):
        TorchSGD(rates, constant_for="predictr").build([moving, held])


def test_adamw_has_the_numbers_of_pytorch():
    """By torch.optim.AdamW in float64, lr 0.1 and λ 0.3, three steps."""
    rng = np.random.default_rng(0)
    variable = keras.Variable(rng.normal(size=(4, 3)))
    optimizer = AdamW(0.1, weight_decay=0.3)
    optimizer.build([variable])
    for _ in range(3):
        optimizer.apply([tf.constant(rng.normal(size=(4, 3)), tf.float32)], [variable])
    expected = [0.2860092789124866, 0.05712189895423994, 0.8060619057275293]
    np.testing.assert_allclose(variable[0], expected, atol=1e-5)


@pytest.mark.parametrize("decay_vectors", [True, False])
def test_adamw_with_all_that_dino_asks_of_it(decay_vectors):
    """A decay by a cosine, gradients clipped one by one, and biases that do not decay."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(4, 3)), rng.normal(size=3)]
    variables = [keras.Variable(w, name=n) for w, n in zip(values, ("kernel", "b"), strict=True)]
    optimizer = AdamW(0.1, 0.04, 0.4, 3, decay_vectors, clip_gradient=1.5)
    optimizer.build(variables)
    moments = [(0, 0), (0, 0)]
    for step in range(3):
        gradients = [rng.normal(size=w.shape) for w in values]
        decay = 0.4 + (0.04 - 0.4) * (1 + np.cos(np.pi * step / 3)) / 2
        np.testing.assert_allclose(optimizer.current_weight_decay(), decay, rtol=1e-5)
        optimizer.apply([tf.constant(g, tf.float32) for g in gradients], variables)
        for i, g in enumerate(gradients):
            g = g * min(1, 1.5 / (np.linalg.norm(g) + 1e-6))
            if i == 0 or decay_vectors:
                values[i] = values[i] - 0.1 * decay * values[i]
            m, v = 0.9 * moments[i][0] + 0.1 * g, 0.999 * moments[i][1] + 0.001 * g**2
            moments[i] = m, v
            m, v = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
            values[i] = values[i] - 0.1 * m / (np.sqrt(v) + 1e-7)
    for variable, expected in zip(variables, values, strict=True):
        np.testing.assert_allclose(variable, expected, atol=1e-5)
    again = AdamW.from_config(optimizer.get_config())
    assert (again.decay, again.end_decay, again.clip_gradient) == (0.04, 0.4, 1.5)
    assert again.decay_vectors == decay_vectors and again.total_steps == 3


def test_sgd_clips_before_it_decays():
    kernel, bias = keras.Variable(np.full((2, 2), 3.0)), keras.Variable([3.0])
    optimizer = TorchSGD(0.5, 0.0, 0.1, decay_vectors=False, clip_gradient=1.0)
    optimizer.build([kernel, bias])
    optimizer.apply([tf.fill((2, 2), 2.0), tf.constant([0.5])], [kernel, bias])
    np.testing.assert_allclose(kernel, np.full((2, 2), 3 - 0.5 * (0.5 + 0.3)), rtol=1e-5)
    np.testing.assert_allclose(bias, [3 - 0.5 * 0.5], rtol=1e-6)


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
            "end_weight_decay": 0.4,
            "decay_vectors": False,
            "clip_gradient": 3.0,
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
    config.name = "adamw"
    adamw = build_optimizer(config, 512, 100, 2)
    assert (adamw.end_decay, adamw.total_steps, adamw.clip_gradient) == (0.4, 100, 3.0)
    assert not adamw.decay_vectors
    config.name = "sgdd"
    with pytest.raises(ValueError, match=r"optimizer\.name is 'sgdd'"):
        build_optimizer(config, 512, 100, 2)
