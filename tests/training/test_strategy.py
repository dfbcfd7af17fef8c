"""Two replicas with half the batch each against one device, for every method.

In a process of its own: logical devices are set before TensorFlow starts, and MirroredStrategy
works once in a process.
"""

import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from training.strategy import make_strategy

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from training.loop import compiled_step
from training.methods.byol import BYOL
from training.methods.moco import MoCo
from training.methods.simclr import SimCLR
from training.methods.simsiam import SimSiam
from training.optimizers import SGD
from training.strategy import make_strategy

BATCH = 16

def encoder(synchronized):
    return keras.Sequential([
        keras.Input((16, 16, 3)),
        keras.layers.Conv2D(8, 3, strides=2, use_bias=False),
        keras.layers.BatchNormalization(synchronized=synchronized),
        keras.layers.ReLU(),
        keras.layers.GlobalAveragePooling2D(),
    ])

METHODS = {
    "simclr": lambda several: SimCLR(encoder(several), 16, 8, 0.5),
    "simsiam": lambda several: SimSiam(encoder(several), 32, 8),
    "byol": lambda several: BYOL(encoder(several), 100, 16, 8, 0.9),
    # Two groups on one device are the two replicas' shares.
    "moco": lambda several: MoCo(encoder(False), 16, 8, 64, 0.9, 0.2, batch_norm_groups=2),
}
rng = np.random.default_rng(0)
views = {side: rng.random((3 * BATCH, 16, 16, 3), np.float32) for side in ("left", "right")}
dataset = tf.data.Dataset.from_tensor_slices(views).batch(BATCH, drop_remainder=True)

def three_steps(name, strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        method = METHODS[name](strategy.num_replicas_in_sync > 1)
        optimizer = SGD(0.1, momentum=0.9, weight_decay=1e-3)
        optimizer.build(method.trainable_variables)
        method.compile(optimizer)
    step = compiled_step(method, strategy)
    batches = strategy.experimental_distribute_dataset(dataset)
    losses = [float(step(batch)["loss"]) for batch in batches]
    # Moving statistics of groups that are not synchronized follow another order of averaging.
    compared = [v for v in method.variables if "moving" not in v.path or name != "moco"]
    copies = [strategy.experimental_local_results(v.value) for v in compared]
    return losses, [[copy.numpy() for copy in variable] for variable in copies]

one = {name: three_steps(name, make_strategy("one", BATCH)) for name in METHODS}
mirrored = make_strategy("mirrored", BATCH)
assert mirrored.num_replicas_in_sync == 2
for name, (losses, variables) in one.items():
    two_losses, two_variables = three_steps(name, mirrored)
    np.testing.assert_allclose(two_losses, losses, rtol=1e-5, atol=1e-6, err_msg=name)
    for copies, (alone,) in zip(two_variables, variables, strict=True):
        for copy in copies:
            np.testing.assert_allclose(copy, alone, atol=2e-5, err_msg=name)
print("passed")
"""


def test_two_replicas_give_the_losses_and_weights_of_one():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "passed" in done.stdout, done.stderr


def test_one_device_is_the_default_here():
    for name in ("auto", "one"):
        if len(tf.config.list_logical_devices("GPU")) < 2 or name == "one":
            assert make_strategy(name, 7).num_replicas_in_sync == 1


def test_unknown_strategy():
    with pytest.raises(ValueError, match='expected "auto", "one" or "mirrored"'):
        make_strategy("tpus", 8)
