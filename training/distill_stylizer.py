r"""Trains the compact stylizer by distillation from Magenta's mobile model.

    python -m training.distill_stylizer --teacher=FOLDER_OF_TFLITE_FILES \
        --content=PHOTOGRAPHS/train --content=OTHERS/train --styles=FOLDER/train \
        --workdir=runs/compact

The student begins with the teacher's weights wherever it has the teacher's shape. Its T learns the
teacher's pictures from the teacher's codes, with α from all of [0, 1], half of them in SASSL's
[0.1, 0.3]; its F the teacher's codes, weighed as the teacher's T feels them. Every step sees new
crops, colours and textures, which the teacher answers at once. Run again on the same workdir it
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
from sassl_tf.stylizers.layers import PATCH
from sassl_tf.stylizers.patches import patch_kernel, placement, upsampled_placement
from sassl_tf.stylizers.precision import dtype_policy
from sassl_tf.stylizers.transfer_network import RESIDUAL_BLOCKS
from sassl_tf.stylizers.weights_file import save_weights
from training.command import binary
from training.distillation_data import DistillationImages
from training.engine.checkpoints import Checkpoints
from training.engine.lock import locked
from training.engine.workdir import open_workdir, workdir_path
from training.report.logs import say
from training.report.metrics import MetricsWriter

_TEACHER = flags.DEFINE_string("teacher", None, "Folder of the mobile stylizer.", required=True)
_CONTENT = flags.DEFINE_multi_string("content", None, "Folders of photographs.", required=True)
_STYLES = flags.DEFINE_string("styles", None, "Folder of style images.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where state and result go.", required=True)
_STEPS = flags.DEFINE_integer("steps", 8000, "Optimizer steps.")
_BATCH = flags.DEFINE_integer("batch", 32, "Contents of a step, and styles.")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 5e-4, "Of Adam, at its peak.")
_SEED = flags.DEFINE_integer("seed", 7, "Seed of every draw.")

SIDES = {64: 0.1, 96: 0.2, 128: 0.5, 160: 0.1, 224: 0.1}  # how often each is a batch's
WARM_UP = 200
SMALLEST_ERROR = 1e-5  # below it, 50 dB of T's own picture, the loss no longer rewards
MEASURES = ("psnr", "detail_error", "detail_energy", "style_error", "code_error")
CODES_MIXED = 0.25  # share of styles that lie between two images' codes


def style_network_from(teacher):
    """The student's F, with all weights of its teacher's."""
    network = compact_style_network()
    network.set_weights(teacher.style_network.get_weights())
    return network


def transfer_network_from(teacher):
    """The student's T, with the teacher's weights as far as their shapes agree.

    The contraction, the trunk and the first step of the expansion begin as exactly the teacher's;
    the rest of the expansion is new.
    """
    network, source = compact_transfer_network(), teacher.transfer_network

    def kernel(name):
        return source.get_layer(name).get_weights()[0]

    for number, size, side, stride in ((1, 9, PATCH, 1), (2, 3, PATCH, 2), (3, 3, 2, 2)):
        taps, bias = source.get_layer(f"contract.conv{number}").get_weights()
        dense = patch_kernel(taps, placement(size, size // 2, side, stride))
        pixels = (side // stride) ** 2
        network.get_layer(f"contract{number}").set_weights([dense, np.tile(bias, pixels)])
    for block in range(1, RESIDUAL_BLOCKS + 1):
        for conv in ("conv1", "conv2"):
            theirs, ours = f"residual.residual{block}.{conv}", f"block{block}_{conv}"
            network.get_layer(ours).set_weights([kernel(theirs)])
            heads = source.get_layer(f"{theirs}.StyleNorm").get_weights()
            network.get_layer(f"{ours}_style").set_weights(heads)
    dense = patch_kernel(kernel("expand.conv1.conv"), upsampled_placement(1))
    network.get_layer("expand1").set_weights([dense])
    heads = source.get_layer("expand.conv1.conv.StyleNorm").get_weights()
    heads = [np.tile(head, (1,) * (head.ndim - 1) + (4,)) for head in heads]
    network.get_layer("expand1_style").set_weights(heads)
    heads = source.get_layer("expand.conv3.conv.StyleNorm").get_weights()
    network.get_layer("output_style").set_weights(heads)
    return network


def style_heads(teacher):
    """[code_size, N]: from a code to all γ and β of the teacher's T, less their biases."""
    layers = [layer for layer in teacher.transfer_network.layers if "StyleNorm" in layer.name]
    kernels = [k.numpy() for layer in layers for k in (layer.gamma_kernel, layer.beta_kernel)]
    return np.concatenate(kernels, axis=1)


def high_pass(images):
    """Images less the mean of 3×3 pixels around each."""
    return images - tf.nn.avg_pool2d(images, 3, 1, "SAME")


def feature_network(style_network):
    """The teacher's F, to what its layers of four depths see and to the code."""
    depths = ("expanded_conv", "expanded_conv_2", "expanded_conv_5", "expanded_conv_9")
    layers = [style_network.get_layer(f"{name}.project") for name in depths]
    outputs = [*(layer.output for layer in layers), style_network.output]
    return keras.Model(style_network.input, outputs)


def statistics(features):
    """[B, 2 C]: mean and standard deviation of each channel of [B, H, W, C]."""
    mean, variance = tf.nn.moments(features, (1, 2))
    return tf.concat([mean, tf.sqrt(variance + 1e-4)], axis=1)


class Distillation:
    """Teacher and student, the student's optimizers, and one training step."""

    def __init__(self, teacher, steps, learning_rate):
        self.teacher = teacher.in_precision()
        self.style_network = style_network_from(teacher)
        with dtype_policy("mixed_bfloat16"):
            self.transfer_network = transfer_network_from(teacher)
        self.heads = tf.constant(style_heads(teacher))
        self.features = feature_network(teacher.style_network)
        self.networks = self.style_network, self.transfer_network
        self.optimizers = [_optimizer(n, steps, learning_rate) for n in self.networks]

    @tf.function(reduce_retracing=True, autograph=False)
    def step(self, content, style, alpha, mix):
        """One update of F and T.

        Args:
            content, style: float32 images in [0, 1], as many of both.
            alpha: float32 [B, 1], blending factors.
            mix: float32 [B, 1], how much of the next style's code each style gets.

        Returns:
            `MEASURES`: mean PSNR of T's pictures in dB; of their fine detail the relative error
            and the energy, medians; the relative errors of the teacher's codes of T's pictures,
            and of F's codes.
        """
        z_c, z_s = self.teacher.encode_style(content), self.teacher.encode_style(style)
        z_mixed = (1 - mix) * z_s + mix * tf.roll(z_s, 1, axis=0)
        code = (1 - alpha) * z_c + alpha * z_mixed
        target = self.teacher.stylize(content, code)
        half = tf.shape(content)[0] // 2  # F costs more than T
        small = [tf.image.resize(x[:half], (STYLE_SIZE,) * 2) for x in (content, style)]
        images, codes = tf.concat(small, axis=0), tf.concat([z_c[:half], z_s[:half]], axis=0)
        style_loss = self._update(0, lambda: self._code_error(images, codes))

        def transfer_loss():
            stylized = self.transfer_network([content, code], training=True)
            error = tf.reduce_mean(tf.square(stylized - target), axis=(1, 2, 3))
            texture, measures = self._texture_error(stylized, target)
            logarithm = tf.reduce_mean(tf.math.log(error + SMALLEST_ERROR))
            return logarithm + texture, error, *measures

        _, error, *measures = self._update(1, transfer_loss)
        decibels = tf.reduce_mean(tf.math.log(error)) * (-10 / np.log(10.0))
        return decibels, *measures, style_loss[1]

    def _texture_error(self, pictures, targets):
        """What a mean squared error averages away: the loss, and the measures of it to report.

        Fine detail, relative to how much there is; its energy; and what the teacher's F sees:
        features, their statistics over the picture, and the code. Logarithms give each its share.
        """
        ours, theirs = high_pass(pictures), high_pass(targets)
        detail = _relative_error(ours, theirs)
        energy = tf.math.log((_energy(ours) + 1e-6) / (_energy(theirs) + 1e-6))
        *seen, code = self.features(pictures)
        *targets_seen, target_code = self.features(targets)
        pairs = [*zip(seen, targets_seen, strict=True)]
        features = [tf.reduce_mean(_relative_error(f, t)) for f, t in pairs]
        pairs = [*((statistics(f), statistics(t)) for f, t in pairs), (code, target_code)]
        style = [_error_of_spread(s, t) for s, t in pairs]
        loss = (
            0.5 * tf.reduce_mean(tf.math.log(detail))
            + 0.25 * tf.reduce_mean(tf.square(energy))
            + 0.25 * tf.reduce_mean(tf.math.log(tf.stack(features)))
            + 0.5 * tf.reduce_mean(tf.math.log(tf.stack(style)))
        )
        return loss, (_median(detail), tf.exp(_median(energy)), style[-1])

    def _code_error(self, images, codes):
        difference = self.style_network(images, training=True) - codes
        centred = codes - tf.reduce_mean(codes, axis=0)
        # As the codes are, and as T feels them through its γ and β.
        pairs = (difference, centred), (difference @ self.heads, centred @ self.heads)
        errors = [tf.reduce_mean(tf.square(d)) / tf.reduce_mean(tf.square(c)) for d, c in pairs]
        return tf.math.log(errors[0]) + tf.math.log(errors[1]), errors[1]

    def _update(self, number, loss):
        """Updates one of the networks; returns all that `loss` does."""
        variables = self.networks[number].trainable_variables
        with tf.GradientTape() as tape:
            value, *others = loss()
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(value, variables)]
        # A gradient that is not finite, as bfloat16 gives once in a while, is left out.
        finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
        gradients = [tf.where(finite, g, 0.0) for g in gradients]
        self.optimizers[number].apply(gradients, variables)
        return value, *others


def _energy(images):
    return tf.reduce_mean(tf.square(images), axis=(1, 2, 3))


def _relative_error(values, targets):
    """By image."""
    return (_energy(values - targets) + 1e-6) / (_energy(targets) + 1e-6)


def _error_of_spread(rows, targets):
    """Squared error of rows [B, N], by how much the targets differ from each other."""
    spread = tf.math.reduce_variance(targets, axis=0)
    return tf.reduce_mean(tf.square(rows - targets)) / (tf.reduce_mean(spread) + 1e-6)


def _median(values):
    return tf.sort(values)[tf.size(values) // 2]


def _optimizer(network, steps, learning_rate):
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - WARM_UP), warmup_target=learning_rate, warmup_steps=WARM_UP
    )
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
    optimizer.build(network.trainable_variables)
    return optimizer


def draws(rng, count):
    """α and how much codes are mixed, float32 [count, 1] each."""
    usual = rng.random((count, 1)) < 0.5
    alpha = np.where(usual, rng.uniform(0.1, 0.3, (count, 1)), rng.random((count, 1)))
    mix = np.where(rng.random((count, 1)) < CODES_MIXED, rng.random((count, 1)), 0.0)
    return alpha.astype(np.float32), mix.astype(np.float32)


def main(_):
    teacher = load_stylizer("magenta-mobile", _TEACHER.value)
    with locked(workdir_path(_WORKDIR.value)):
        distill(teacher)


def distill(teacher):
    """Trains the student of a `Stylizer`, as the flags say."""
    settings = (_CONTENT, _STYLES, _STEPS, _BATCH, _LEARNING_RATE, _SEED)
    config = ml_collections.ConfigDict({flag.name: flag.value for flag in settings})
    workdir = open_workdir(_WORKDIR.value, config, {"teacher": teacher.fingerprint})
    keras.utils.set_random_seed(_SEED.value)  # for the layers that begin at random
    images = DistillationImages.from_folders(_CONTENT.value, _STYLES.value)
    student = Distillation(teacher, _STEPS.value, _LEARNING_RATE.value)

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
        content, style = images.batch(rng, side, count)
        rows.append([float(x) for x in student.step(content, style, *draws(rng, count))])
        if (number + 1) % 100 == 0:
            means = dict(zip(MEASURES, np.mean(rows, axis=0), strict=True))
            means["seconds_a_step"] = (time.time() - start) / len(rows)
            row = {name: round(float(mean), 4) for name, mean in means.items()}
            metrics.write(number + 1, row)
            say(f"step {number + 1}: {row}")
            rows, start = [], time.time()
        if (number + 1) % 500 == 0 or number + 1 == _STEPS.value:
            checkpoints.save(number + 1)
            save_weights(workdir / "compact.safetensors", "compact", student.networks, "float16")
    print(f"Wrote {workdir / 'compact.safetensors'}.")


if __name__ == "__main__":
    binary.run(main, continues=True)
