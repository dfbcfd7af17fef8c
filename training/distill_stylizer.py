r"""Trains the compact stylizer by distillation from a larger one.

    python -m training.distill_stylizer --teacher=FOLDER_OF_TFLITE_FILES \
        --content=PHOTOGRAPHS/train --content=OTHERS/train --styles=FOLDER/train \
        --workdir=runs/compact

The student sees what the augmentation will show it: crops at 64 to 224 px, and codes blended from
the crop's own and a style's, with α mostly in SASSL's [0.1, 0.3]. It learns the teacher's picture,
from the teacher's codes and from its own, and the teacher's codes. Run again on the same workdir it
continues. The result is `compact.safetensors` in the workdir.
"""

import time

import keras
import ml_collections
import numpy as np
import tensorflow as tf
from absl import flags

from sassl_tf.stylizers import load_stylizer
from sassl_tf.stylizers.compact import (
    STYLE_SIZE,
    compact_style_network,
    compact_transfer_network,
)
from sassl_tf.stylizers.weights_file import save_weights
from training import binary
from training.checkpoints import Checkpoints
from training.distillation_samples import Samples, write_samples
from training.lock import locked
from training.logs import say
from training.metrics import MetricsWriter
from training.workdir import open_workdir, workdir_path

_TEACHER = flags.DEFINE_string("teacher", None, "Folder of the mobile stylizer.", required=True)
_CONTENT = flags.DEFINE_multi_string("content", None, "Folders of photographs.", required=True)
_STYLES = flags.DEFINE_string("styles", None, "Folder of style images.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where state and result go.", required=True)
_STEPS = flags.DEFINE_integer("steps", 24000, "Optimizer steps.")
_BATCH = flags.DEFINE_integer("batch", 32, "Samples a step; half as many of the larger sides.")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 2e-3, "Of T, at its peak; half of it for F.")
_PART = flags.DEFINE_integer("part", 1024, "Samples that the teacher answers at a time.")
_SEED = flags.DEFINE_integer("seed", 7, "Of every draw.")

SIDES = {64: 0.1, 96: 0.2, 128: 0.5, 160: 0.1, 224: 0.1}  # how often each is a batch's
WARM_UP = 200
SMALLEST_ERROR = 1e-4  # below it, about 40 dB of T's own picture, the loss no longer rewards


class Distillation:
    """The student, its optimizers and one training step."""

    def __init__(self, teacher, code_variance):
        self.style_network = compact_style_network()
        self.transfer_network = compact_transfer_network()
        last = teacher.transfer_network.get_layer("expand.conv3.conv.StyleNorm")
        self.transfer_network.get_layer("output_style").set_weights(last.get_weights())
        self.code_variance = float(code_variance)
        networks = self.style_network, self.transfer_network
        shares = 0.5, 1.0
        self.optimizers = [*map(self._optimizer, networks, shares)]

    def _optimizer(self, network, share):
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0,
            max(1, _STEPS.value - WARM_UP),
            warmup_target=share * _LEARNING_RATE.value,
            warmup_steps=WARM_UP,
        )
        optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
        optimizer.build(network.trainable_variables)
        return optimizer

    @tf.function(reduce_retracing=True, autograph=False)
    def step(self, batch):
        """One update; (mean PSNR of T's pictures in dB, loss of the codes)."""
        content, target, style = (
            tf.cast(batch[name], tf.float32) / 255.0 for name in ("content", "target", "style")
        )
        alpha = batch["alpha"]
        # Half of the samples pass through the student's own F, the others show T the right codes.
        own = tf.shape(content)[0] // 2
        small = tf.image.resize(content[:own], (STYLE_SIZE, STYLE_SIZE))
        images = tf.concat([small, style[:own]], axis=0)
        right = tf.concat([batch["z_c"][:own], batch["z_s"][:own]], axis=0)
        networks = self.style_network, self.transfer_network
        with tf.GradientTape() as tape:
            codes = self.style_network(images, training=True)
            code_loss = tf.reduce_mean(tf.square(codes - right)) / self.code_variance
            z_c = tf.concat([codes[:own], batch["z_c"][own:]], axis=0)
            z_s = tf.concat([codes[own:], batch["z_s"][own:]], axis=0)
            stylized = self.transfer_network(
                [content, (1 - alpha) * z_c + alpha * z_s], training=True
            )
            error = tf.reduce_mean(tf.square(stylized - target), axis=(1, 2, 3))
            # The mean of logarithms is the mean of decibels, which fidelity is measured in.
            loss = tf.reduce_mean(tf.math.log(error + SMALLEST_ERROR)) + 0.3 * code_loss
        gradients = tape.gradient(loss, [network.trainable_variables for network in networks])
        for optimizer, gradient, network in zip(self.optimizers, gradients, networks, strict=True):
            optimizer.apply(gradient, network.trainable_variables)
        return tf.reduce_mean(tf.math.log(error)) * (-10 / np.log(10.0)), code_loss


def main(_):
    teacher = load_stylizer("magenta-mobile", _TEACHER.value)
    with locked(workdir_path(_WORKDIR.value)):
        distill(teacher)


def distill(teacher):
    """Trains the student of a `Stylizer`, as the flags say."""
    settings = (_CONTENT, _STYLES, _STEPS, _BATCH, _LEARNING_RATE, _PART, _SEED)
    config = ml_collections.ConfigDict({flag.name: flag.value for flag in settings})
    workdir = open_workdir(_WORKDIR.value, config, {"teacher": teacher.fingerprint})
    write_samples(
        workdir / "samples",
        teacher,
        _CONTENT.value,
        _STYLES.value,
        STYLE_SIZE,
        _SEED.value,
        _PART.value,
    )
    samples = Samples(workdir / "samples")
    student = Distillation(teacher, samples.codes.var(axis=0).mean())

    state = {
        "optimizers": student.optimizers,
        "style_network": student.style_network,
        "transfer_network": student.transfer_network,
    }
    checkpoints = Checkpoints(workdir, state)
    done = checkpoints.restore()
    if done:
        say(f"continuing at step {done}")

    metrics = MetricsWriter(workdir, done)
    rows, start = [], time.time()
    for number in range(done, _STEPS.value):
        rng = np.random.default_rng((_SEED.value, number))
        side = int(rng.choice(list(SIDES), p=list(SIDES.values())))
        count = _BATCH.value if side <= 128 else _BATCH.value // 2
        rows.append([float(x) for x in student.step(samples.batch(rng, side, count))])
        if (number + 1) % 100 == 0:
            psnr, code_loss = np.mean(rows, axis=0)
            row = {
                "image_psnr": round(float(psnr), 3),
                "code_loss": round(float(code_loss), 4),
                "seconds_a_step": round((time.time() - start) / len(rows), 4),
            }
            metrics.write(number + 1, row)
            say(f"step {number + 1}: {row}")
            rows, start = [], time.time()
        if (number + 1) % 500 == 0 or number + 1 == _STEPS.value:
            checkpoints.save(number + 1)
            networks = student.style_network, student.transfer_network
            save_weights(workdir / "compact.safetensors", "compact", networks, "float16")
    print(f"Wrote {workdir / 'compact.safetensors'}.")


if __name__ == "__main__":
    binary.run(main, continues=True)
