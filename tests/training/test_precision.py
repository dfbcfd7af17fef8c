"""Mixed precision: float32 where it matters, and a loss that is scaled where it must be."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import commands
from tests.training.test_barlow_vicreg import barlow_twins
from tests.training.test_byol_moco_simsiam import batch_normalized_encoder
from tests.training.test_moco_v3 import moco_v3
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


RATES = {barlow_twins: 0.01, moco_v3: 0.005}  # where 0.05 is too much for three steps


def losses(make, steps=3):
    keras.utils.set_random_seed(0)
    method = make(batch_normalized_encoder())
    method.compile(keras.optimizers.SGD(RATES.get(make, 0.05)))
    method.optimizer.build(method.trainable_variables)
    batch = {side: tf.constant(view) for side, view in views(8).items()}
    found = [method.train_step(batch)["loss"] for _ in range(steps)]
    assert all(loss.dtype == tf.float32 for loss in found)
    assert all(v.dtype in ("float32", "int32") for v in method.variables)
    return np.array([float(loss) for loss in found])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
@pytest.mark.parametrize("make", [*METHODS, *MORE_METHODS])
def test_mixed_precision_stays_close_to_float32(policy, make):
    mixed = losses(make)
    keras.config.set_dtype_policy("float32")
    exact = losses(make)
    np.testing.assert_allclose(mixed[0], exact[0], rtol=0.02, atol=0.02)
    assert np.isfinite(mixed).all() and np.sign(mixed[-1] - mixed[0]) == np.sign(
        exact[-1] - exact[0]
    )


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
