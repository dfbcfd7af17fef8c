"""Trains methods for three steps under a strategy, and writes what came of it.

    python -m tests.training.three_steps STRATEGY OUTPUT.npz METHOD,METHOD,...

In a process of its own: logical devices are set before TensorFlow starts, and MirroredStrategy
works once in a process. "mirrored" is two logical CPUs; "multi_worker" asks TF_CONFIG.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from training.engine.loop import compiled_step
from training.engine.strategy import across_workers, make_strategy
from training.methods.barlow_twins import BarlowTwins
from training.methods.byol import BYOL
from training.methods.dino import DINO
from training.methods.moco import MoCo
from training.methods.moco_v3 import MoCoV3
from training.methods.online_probe import OnlineProbe
from training.methods.parts import WHOLE, Sums, parts_of
from training.methods.simclr import SimCLR
from training.methods.simsiam import SimSiam
from training.methods.vicreg import VICReg
from training.optimizers import LARS, AdamW, TorchSGD

BATCH = 16


def encoder(synchronized):
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(8, 3, strides=2, use_bias=False),
            keras.layers.BatchNormalization(synchronized=synchronized),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


METHODS = {
    "simclr": lambda several: SimCLR(encoder(several), 16, 8, 0.5),
    "simsiam": lambda several: SimSiam(encoder(several), 32, 8),
    "byol": lambda several: BYOL(encoder(several), 100, 16, 8, 0.9),
    "barlow_twins": lambda several: BarlowTwins(encoder(several), 16, 8),
    "vicreg": lambda several: VICReg(encoder(several), 16, 8),
    "moco_v3": lambda several: MoCoV3(encoder(several), 100, 16, 8, frozen_projection=False),
    "dino": lambda several: DINO(encoder(several), 100, 2, 12, 16, 8, base_momentum=0.9),
    # Two groups on one device are the two replicas' shares.
    "moco": lambda several: MoCo(encoder(False), 16, 8, 64, 0.9, 0.2, batch_norm_groups=2),
}

# Each with its source's; LARS also looks at the norm of the whole batch's gradient.
OPTIMIZERS = {
    "simclr": lambda: LARS(1.0, weight_decay=1e-3, trust_coefficient=0.1),
    "byol": lambda: LARS(1.0, weight_decay=1e-3, trust_coefficient=0.1),
    "simsiam": lambda: TorchSGD(0.1, weight_decay=1e-3),
    "barlow_twins": lambda: LARS(0.5, trust_coefficient=0.1, vector_rate=0.024),
    "moco_v3": lambda: AdamW(1e-2, 0.1, clip_gradient=0.1),
    "dino": lambda: TorchSGD(0.1, weight_decay=1e-3, decay_vectors=False, clip_gradient=0.1),
    "vicreg": lambda: LARS(0.5, trust_coefficient=0.1, vector_rate=0.024),
    "moco": lambda: TorchSGD(0.1, weight_decay=1e-3),
}


# Two steps in two parts each, and the first part of the next.
IN_PARTS = {name: [*parts_of(2), *parts_of(2), parts_of(2)[0]] for name in ("simclr", "dino")}


def batches(context):
    """Each pipeline's replicas get their parts of the global batch, in order."""
    rng = np.random.default_rng(0)
    views = {side: rng.random((5 * BATCH, 16, 16, 3), np.float32) for side in ("left", "right")}
    views["label"] = np.arange(5 * BATCH) % 4
    part = BATCH // context.num_input_pipelines
    dataset = tf.data.Dataset.from_tensor_slices(views).batch(part, drop_remainder=True)
    dataset = dataset.shard(context.num_input_pipelines, context.input_pipeline_id)
    options = tf.data.Options()
    options.autotune.enabled = False  # clearing it away can take TensorFlow a minute
    return dataset.rebatch(context.get_per_replica_batch_size(BATCH)).with_options(options)


def three_steps(name, strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        method = METHODS[name](strategy.num_replicas_in_sync > 1)
        method.compile(OPTIMIZERS[name]())
        method.optimizer.build(method.trainable_variables)
        if name in IN_PARTS:
            method.gradient_sums = Sums(method.trainable_variables)
        probe = OnlineProbe(method.encoder.output_shape[-1], 4)
    step = compiled_step(method, strategy, probe=probe)
    iterator = iter(strategy.distribute_datasets_from_function(batches))
    parts = IN_PARTS.get(name, [WHOLE] * 3)
    found = {f"{name}/loss": [float(step(next(iterator), part)["loss"]) for part in parts]}
    for number, variable in enumerate([*method.variables, *probe.variables]):
        # Moving statistics of groups that are not synchronized follow another order of averaging.
        if name != "moco" or "moving" not in variable.path:
            copies = strategy.experimental_local_results(variable.value)
            found[f"{name}/{number}"] = np.stack([copy.numpy() for copy in copies])
    return found


def main(strategy, output, methods):
    if strategy == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, devices)
    strategy = make_strategy(strategy)
    found = {"replicas": strategy.num_replicas_in_sync}
    found["workers"] = across_workers(strategy, 7)
    for name in methods.split(","):
        found.update(three_steps(name, strategy))
    np.savez(output, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
