"""The layer on two devices, in a process of its own: MirroredStrategy works once in each."""

import pytest

from tests import commands

SCRIPT = """
import sys
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import sassl_tf
from sassl_tf.drop_path import DropPath
from tests.stylizers.hub_module import made_up_variables
from tests.stylizers.tiny import tiny_stylizer

if sys.argv[1] == "magenta":
    stylizer = sassl_tf.stylizer_from_variables(made_up_variables())
elif sys.argv[1] == "compact":
    stylizer = sassl_tf.load_stylizer("compact")
else:
    stylizer = tiny_stylizer()
x = np.random.default_rng(0).random((8, 48, 48, 3), np.float32)
bank = sassl_tf.StyleBank.from_images(x[:5], stylizer)

def make():
    return sassl_tf.SASSLAugmentation(
        stylizer, bank, probability=1.0, value_range=(0, 1), precision="float32"
    )

def seeded(dataset, layer):
    return sassl_tf.map_with_seeds(dataset, layer, seed=0)

batches = tf.data.Dataset.from_tensor_slices(x).batch(4)
alone = np.concatenate(list(seeded(batches, make()).as_numpy_iterator()))

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
with strategy.scope():
    layer = make()
    model = keras.Sequential([keras.Input((48, 48, 3)), layer])

# In the input pipeline: a global batch of 4 is cut into two after the map.
distributed = strategy.experimental_distribute_dataset(seeded(batches, layer))
parts = [strategy.experimental_local_results(batch) for batch in distributed]
views = np.concatenate([part for batch in parts for part in batch])
np.testing.assert_allclose(views, alone, atol=1e-5)

# Inside the step, on each replica.
@tf.function
def step(batch):
    return strategy.run(lambda images: model(images, training=True), args=(batch,))

for batch in strategy.experimental_distribute_dataset(batches):
    for before, after in zip(*map(strategy.experimental_local_results, (batch, step(batch)))):
        assert after.shape == (2, 48, 48, 3)
        assert np.abs(after - before).max() > 0.01
assert not model.weights or all("seed" in w.path for w in model.weights)

# Drop path: as Keras's dropout of the same seed on the first replica, and else on the second.
ones = np.ones((64, 3, 2), np.float32)
expected = keras.layers.Dropout(0.5, noise_shape=(None, 1, 1), seed=4)(ones, training=True)
with strategy.scope():
    drop = DropPath(0.5, seed=4)
    drop.build(ones.shape)

@tf.function
def dropped():
    return strategy.run(lambda: drop(tf.constant(ones), training=True))

first, second = strategy.experimental_local_results(dropped())
np.testing.assert_array_equal(first, expected)
assert 16 < np.sum(np.any(first != second, axis=(1, 2))) < 48
print("passed")
"""


LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("compact", "magenta")]


@pytest.mark.parametrize("stylizer", ["tiny", *LARGE])
def test_two_devices(stylizer):
    done = commands.run_program(SCRIPT, stylizer)
    assert done.returncode == 0 and "passed" in done.stdout, done.stderr
