"""Mixed precision: float32 where it matters, and a loss that is scaled where it must be."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import commands
from tests.training.test_byol_moco_simsiam import batch_normalized_encoder
from tests.training.test_simclr import views
from tests.training.test_xla import METHODS, MORE_METHODS
from training.methods.descent import descend
from training.methods.online_probe import unobserved
from training.methods.parts import WHOLE, Sums, parts_of


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def first_update(make):
    """The loss before the first update of all weights, and that update as one vector.

    In mixed_float16 the first steps may be left out, until the loss is scaled by little enough.
    """
    keras.utils.set_random_seed(0)
    method = make(batch_normalized_encoder())
    method.compile(keras.optimizers.SGD(0.01))
    method.optimizer.build(method.trainable_variables)
    batch = {side: tf.constant(view) for side, view in views(8).items()}
    before = weights = as_vector(method.trainable_variables)
    for _ in range(3):
        if np.array_equal(weights, before):
            loss = method.train_step(batch)["loss"]
            weights = as_vector(method.trainable_variables)
    assert loss.dtype == tf.float32
    assert all(v.dtype in ("float32", "int32") for v in method.variables)
    return float(loss), weights - before


def as_vector(variables):
    return np.concatenate([np.ravel(variable) for variable in variables])


in_float32 = functools.cache(first_update)
# Of the update, as a share of its length: float16 has eight times the digits of bfloat16. Twice
# what they are, and less than the half that gradients half as large would have.
DIFFERENCES = {"mixed_bfloat16": 0.4, "mixed_float16": 0.04}


@pytest.mark.parametrize("policy", DIFFERENCES, indirect=True)
@pytest.mark.parametrize("make", [*METHODS, *MORE_METHODS])
def test_mixed_precision_stays_close_to_float32(policy, make):
    loss, update = first_update(make)
    keras.config.set_dtype_policy("float32")
    expected_loss, expected = in_float32(make)
    np.testing.assert_allclose(loss, expected_loss, rtol=0.02, atol=0.02)
    difference = np.linalg.norm(update - expected) / np.linalg.norm(expected)
    assert 0 < difference < DIFFERENCES[policy]


class Line(keras.Model):
    """A method whose loss is w·x, so that its gradient is x."""

    def __init__(self):
        super().__init__()
        self.w = self.add_weight((1,), "ones", name="w")
        self.built = True

    def train_step(self, x, observe=unobserved, part=WHOLE):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self.w * x)
        descend(self, tape, loss, part)
        return {"loss": loss}


@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_an_overflow_leaves_out_the_step_and_halves_the_scale(policy):
    line = Line()
    line.compile(keras.optimizers.SGD(0.5))
    line.optimizer.build(line.trainable_variables)
    scale = float(line.optimizer.dynamic_scale)
    line.train_step(tf.constant([0.25]))
    assert float(line.w[0]) == 1 - 0.5 * 0.25 and float(line.optimizer.dynamic_scale) == scale
    line.train_step(tf.constant([float("inf")]))
    assert float(line.w[0]) == 1 - 0.5 * 0.25 and float(line.optimizer.dynamic_scale) == scale / 2


@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_an_overflow_in_a_part_leaves_out_the_step_of_all_parts(policy):
    line = Line()
    line.compile(keras.optimizers.SGD(0.5))
    line.optimizer.build(line.trainable_variables)
    line.gradient_sums = Sums(line.trainable_variables)
    scale = float(line.optimizer.dynamic_scale)
    for values, expected in [
        ((0.25, 0.75), 0.75),  # the mean of both
        ((float("inf"), 0.25), 0.75),
        ((0.25, float("inf")), 0.75),
        ((0.5, 0.5), 0.5),  # nothing is left of them
    ]:
        for value, part in zip(values, parts_of(2), strict=True):
            line.train_step(tf.constant([value]), part=part)
        assert float(line.w[0]) == expected
    assert float(line.optimizer.dynamic_scale) == scale / 4


TWO_REPLICAS = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
keras.config.set_dtype_policy("mixed_float16")
from tests.training.test_precision import Line
from training.engine.loop import compiled_step
from training.engine.strategy import make_strategy

strategy = make_strategy("mirrored")
with strategy.scope():
    line = Line()
    line.unused = line.add_weight(shape=(1,), name="unused")  # it has no gradient
    line.compile(keras.optimizers.SGD(0.5))
    line.optimizer.build(line.trainable_variables)
step = compiled_step(line, strategy)
def batch(left, right):
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant([(left, right)[context.replica_id_in_sync_group]]))
scale = line.optimizer.dynamic_scale.numpy()
for left, right, expected in [
    (0.25, 0.75, 0.75),  # the mean of both
    (0.25, float("inf"), 0.75),  # an overflow on the second alone leaves out the step on both
    (float("inf"), 0.25, 0.75),
    (0.5, 0.5, 0.5),
]:
    step(batch(left, right))
    weights = [w.numpy()[0] for w in strategy.experimental_local_results(line.w.value)]
    assert weights == [expected] * 2, (weights, expected)
assert line.optimizer.dynamic_scale.numpy() == scale / 4
print("passed")
"""


def test_an_overflow_on_one_replica_leaves_out_the_step_on_all():
    done = commands.run_program(TWO_REPLICAS)
    assert "passed" in done.stdout, done.stderr
