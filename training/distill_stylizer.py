"""Trains the compact stylizer by distillation from a larger one.

    python -m training.distill_stylizer \
        --teacher=FOLDER_OF_TFLITE_FILES --content=FOLDER/train --styles=FOLDER/train \
        --workdir=runs/compact

The student sees what the augmentation will show it: crops of photographs at 64 to 160 px, and
codes blended from the crop's own and a style's, with α over [0, 1] and half of them in SASSL's
[0.1, 0.3]. It learns the teacher's picture and the teacher's codes. Run again on the same workdir
it continues. The result is `compact.safetensors` in the workdir.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import json
import time

import keras
import ml_collections
import numpy as np
import tensorflow as tf
from absl import app, flags

from sassl_tf.style_images import style_images
from sassl_tf.stylizers import load_stylizer
from sassl_tf.stylizers.compact import (
    STYLE_SIZE,
    compact_style_network,
    compact_transfer_network,
)
from sassl_tf.stylizers.weights_file import save_weights
from training.logs import say
from training.workdir import open_workdir

_TEACHER = flags.DEFINE_string("teacher", None, "Folder of the mobile stylizer.", required=True)
_CONTENT = flags.DEFINE_string("content", None, "Folder of content images.", required=True)
_STYLES = flags.DEFINE_string("styles", None, "Folder of style images.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where state and result go.", required=True)
_STEPS = flags.DEFINE_integer("steps", 4000, "Optimizer steps.")
_BATCH = flags.DEFINE_integer("batch", 16, "Content crops a step.")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Peak of the cosine schedule.")
_SEED = flags.DEFINE_integer("seed", 0, "Of every draw.")

CROPS_PER_STYLE = 4  # of each style image, fixed, so that the teacher sees each of them once
STYLES_PER_CONTENT = 2  # the teacher's F, its costliest part here, runs once for both
TEACHER_SIZE = 256


def read_images(folder, side):
    """uint8 [N, side, side, 3]: the centre of every image under a folder."""
    images = style_images(folder, side).map(lambda x: tf.saturate_cast(tf.round(255 * x), tf.uint8))
    return np.stack(list(images.as_numpy_iterator()))


def square_crops(images, seed, smallest, side):
    """One random square crop of each image, of `smallest` to all of its side, resized."""
    count = tf.shape(images)[0]
    u = tf.random.stateless_uniform((3, count), seed)
    scale = smallest + (1 - smallest) * u[0]
    top, left = (1 - scale) * u[1], (1 - scale) * u[2]
    boxes = tf.stack([top, left, top + scale, left + scale], axis=1)
    return tf.image.crop_and_resize(images, boxes, tf.range(count), (side, side))


def style_crops(teacher, folder, seed):
    """Crops of the style images at the student's size, and the teacher's codes of them."""
    images = read_images(folder, TEACHER_SIZE)
    small, codes = [], []
    for crop in range(CROPS_PER_STYLE):
        for start in range(0, len(images), 32):
            batch = tf.cast(images[start : start + 32], tf.float32) / 255.0
            if crop:  # the first one is the whole image
                batch = square_crops(batch, (seed + crop, start), 0.5, TEACHER_SIZE)
            codes.append(teacher.encode_style(batch).numpy())
            resized = tf.image.resize(batch, (STYLE_SIZE, STYLE_SIZE))
            small.append(tf.saturate_cast(tf.round(resized * 255), tf.uint8).numpy())
    return np.concatenate(small), np.concatenate(codes)


class Distillation:
    """The student, its optimizer and one training step."""

    def __init__(self, teacher, styles, style_codes):
        self.teacher = teacher
        self.style_images, self.style_codes = tf.constant(styles), tf.constant(style_codes)
        self.style_network = compact_style_network()
        self.transfer_network = compact_transfer_network()
        self._start_from_teachers_last_layer()
        self.code_variance = float(style_codes.var(axis=0).mean())
        schedule = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE.value, _STEPS.value)
        self.optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
        self.variables = (
            self.style_network.trainable_variables + self.transfer_network.trainable_variables
        )
        self.optimizer.build(self.variables)

    def _start_from_teachers_last_layer(self):
        teachers = self.teacher.transfer_network.get_layer("expand.conv3.conv.StyleNorm")
        self.transfer_network.get_layer("output_style").set_weights(teachers.get_weights())

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.float32),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([2], tf.int32),
        ]
    )
    def step(self, content, own_share, seed):
        """One update. `own_share`: how many of the codes that T sees are the student's own."""
        seeds = tf.unstack(tf.random.split(seed, 4))
        crops = tf.shape(content)[0]
        total = crops * STYLES_PER_CONTENT
        picked = tf.random.stateless_uniform(
            (crops,), seeds[0], maxval=len(self.style_codes), dtype=tf.int32
        )
        style = tf.cast(tf.gather(self.style_images, picked), tf.float32) / 255.0
        teacher_content_code = self.teacher.encode_style(content)
        repeat = [STYLES_PER_CONTENT, 1]
        z_c = tf.tile(teacher_content_code, repeat)
        # The second time round every crop meets its neighbour's style.
        z_s = tf.gather(self.style_codes, picked)
        z_s = tf.concat([tf.roll(z_s, shift, 0) for shift in range(STYLES_PER_CONTENT)], 0)
        images = tf.tile(content, [STYLES_PER_CONTENT, 1, 1, 1])

        u = tf.random.stateless_uniform((3, total, 1), seeds[1])
        alpha = tf.where(u[0] < 0.5, 0.1 + 0.2 * u[1], u[1])
        target = self.teacher.stylize(images, (1 - alpha) * z_c + alpha * z_s)
        small = tf.image.resize(content, (STYLE_SIZE, STYLE_SIZE))
        with tf.GradientTape() as tape:
            own = self.style_network(tf.concat([small, style], 0), training=True)
            own_c, own_s = own[:crops], own[crops:]
            own_s = tf.concat([tf.roll(own_s, shift, 0) for shift in range(STYLES_PER_CONTENT)], 0)
            code_loss = tf.reduce_mean((own_c - teacher_content_code) ** 2)
            code_loss = (code_loss + tf.reduce_mean((own_s - z_s) ** 2)) / self.code_variance
            own_code = (1 - alpha) * tf.tile(own_c, repeat) + alpha * own_s
            code = tf.where(u[2] < own_share, own_code, (1 - alpha) * z_c + alpha * z_s)
            stylized = self.transfer_network([images, code], training=True)
            image_loss = tf.reduce_mean((stylized - target) ** 2)
            loss = image_loss + 0.005 * code_loss
        gradients = tape.gradient(loss, self.variables)
        self.optimizer.apply(gradients, self.variables)
        return image_loss, code_loss


def main(_):
    teacher = load_stylizer("magenta-mobile", _TEACHER.value)
    settings = (_CONTENT, _STYLES, _STEPS, _BATCH, _LEARNING_RATE, _SEED)
    config = ml_collections.ConfigDict({flag.name: flag.value for flag in settings})
    workdir = open_workdir(_WORKDIR.value, config, {"teacher": teacher.fingerprint})
    content = read_images(_CONTENT.value, 128)
    say(f"{len(content)} content images; encoding the styles")
    distillation = Distillation(teacher, *style_crops(teacher, _STYLES.value, _SEED.value))

    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(
        step=step,
        optimizer=distillation.optimizer,
        style_network=distillation.style_network,
        transfer_network=distillation.transfer_network,
    )
    manager = tf.train.CheckpointManager(checkpoint, workdir / "checkpoints", max_to_keep=2)
    if manager.restore_or_initialize():
        say(f"continuing at step {step.numpy()}")

    losses, start = [], time.time()
    for number in range(int(step.numpy()), _STEPS.value):
        rng = np.random.default_rng((_SEED.value, number))
        side = int(rng.integers(8, 21)) * 8  # 64 to 160
        picked = content[np.sort(rng.choice(len(content), _BATCH.value, replace=False))]
        seed = tf.constant([_SEED.value, number])
        crops = square_crops(picked.astype(np.float32) / 255.0, seed, 0.4, side)
        own_share = min(1.0, 3.0 * number / _STEPS.value)
        losses.append([float(loss) for loss in distillation.step(crops, own_share, seed + 1)])
        step.assign_add(1)
        if (number + 1) % 100 == 0:
            image_loss, code_loss = np.mean(losses, axis=0)
            row = {
                "step": number + 1,
                "image_psnr": round(-10 * float(np.log10(image_loss)), 3),
                "code_loss": round(float(code_loss), 4),
                "seconds_a_step": round((time.time() - start) / len(losses), 4),
            }
            with open(workdir / "metrics.jsonl", "a") as file:
                file.write(json.dumps(row) + "\n")
            say(str(row))
            losses, start = [], time.time()
        if (number + 1) % 500 == 0 or number + 1 == _STEPS.value:
            manager.save()
            networks = distillation.style_network, distillation.transfer_network
            save_weights(workdir / "compact.safetensors", "compact", networks, "float16")
    print(f"Wrote {workdir / 'compact.safetensors'}.")


if __name__ == "__main__":
    app.run(main)
