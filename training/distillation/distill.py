"""The training of the compact stylizer, a student of Magenta's mobile model."""

import contextlib
import dataclasses
import pathlib
import time

import keras
import ml_collections
import numpy as np
import tensorflow as tf

from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.datasets.folder import every_image
from sassl_tf.stylizers import Stylizer
from sassl_tf.stylizers.compact import INPUT_SIZE
from sassl_tf.stylizers.precision import dtype_policy
from sassl_tf.stylizers.weights_file import save_weights
from sassl_tf.typing import Array, PathLike
from training.distillation.data import DistillationImages
from training.distillation.losses import (
    code_loss,
    feature_network,
    pixel_loss,
    style_heads,
    texture_loss,
)
from training.distillation.student import style_network_from, transfer_network_from
from training.engine.checkpoints import Checkpoints
from training.engine.lock import locked
from training.engine.preemption import Preempted, stop_requests
from training.engine.steps import due
from training.engine.workdir import STYLIZER_FILE, local_workdir_path, open_workdir
from training.report.logs import say
from training.report.metrics import MetricsWriter

SIDES = {64: 0.1, 96: 0.2, 128: 0.5, 160: 0.1, 224: 0.1}  # px, and the share of batches
WARM_UP = 200  # steps
LOG_EVERY, SAVE_EVERY = 100, 500  # steps
MEASURES = ("psnr", "detail_error", "detail_energy", "style_error", "code_error")
CODES_MIXED = 0.25  # share of styles that lie between the codes of two images


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a distillation; a run continues with the same ones only.

    Attributes:
        content: folders of photographs.
        styles: folder of style images.
        steps: number of optimizer steps.
        batch: number of contents, and of styles, in a step; half as many if the side is above 128.
        learning_rate: of Adam, at its peak.
        seed: of every draw.
    """

    content: list[str]
    styles: str
    steps: int
    batch: int
    learning_rate: float
    seed: int


def distill(teacher: Stylizer, settings: Settings, workdir: PathLike) -> pathlib.Path:
    """Trains a student, continuing where the workdir's last checkpoint stands.

    Args:
        teacher: the mobile `Stylizer`.
        settings: a `Settings`.
        workdir: folder of the run, made if it does not exist.

    Returns:
        The Path of the student's weights, a safetensors file in the workdir.

    Raises:
        ValueError: the workdir belongs to other settings or other images, or a folder holds none.
        OSError: the workdir cannot be written.
        InUse: another process works in it.
        Preempted: a signal told the run to stop; the step under way is saved.
    """
    config = ml_collections.ConfigDict(dataclasses.asdict(settings))
    workdir = local_workdir_path(workdir)
    with locked(workdir):
        folders = [*settings.content, settings.styles]
        listing = fingerprint_of(*(every_image(folder).listing for folder in folders))
        open_workdir(workdir, config, {"teacher": teacher.fingerprint, "listing": listing})
        keras.utils.set_random_seed(settings.seed)  # for the layers that begin at random
        images = DistillationImages.from_folders(settings.content, settings.styles)
        distillation = Distillation(teacher, settings)
        checkpoints = Checkpoints(workdir, distillation.state)
        start = checkpoints.restore()
        if start:
            say(f"Continuing at step {start}.")
        with contextlib.closing(MetricsWriter(workdir, start)) as metrics:
            _train(distillation, images, checkpoints, metrics, start, workdir)
    return workdir / STYLIZER_FILE


def _train(distillation, images, checkpoints, metrics, start, workdir):
    """Takes the steps after `start`."""
    last, rows, since = distillation.settings.steps, [], time.monotonic()
    with stop_requests() as stop:
        for step in range(start + 1, last + 1):
            rows.append(distillation.step(images, step))
            if due(step, LOG_EVERY, last):
                _report(metrics, step, rows, time.monotonic() - since)
                rows, since = [], time.monotonic()
            number = stop.number  # once: a signal may come at any moment
            if due(step, SAVE_EVERY, last) or number:
                checkpoints.save(step)
                distillation.save_weights(workdir / STYLIZER_FILE)
            if number and step < last:
                raise Preempted(step, last, number)
    # Also where no step was left: a start that was killed may have saved its last step alone.
    distillation.save_weights(workdir / STYLIZER_FILE)


def _report(metrics, step, rows, seconds):
    """Writes and prints the means of rows of `MEASURES`."""
    means = dict(zip(MEASURES, np.mean(rows, axis=0), strict=True))
    means["seconds_a_step"] = seconds / len(rows)
    row = {name: round(float(mean), 4) for name, mean in means.items()}
    metrics.write(step, row)
    say(f"step {step}: {row}")


class Distillation:
    """The teacher, the student and the student's optimizers.

    Args:
        teacher: the mobile `Stylizer`.
        settings: a `Settings`.

    Attributes:
        state: {name: object with variables}, for `Checkpoints`.
    """

    def __init__(self, teacher: Stylizer, settings: Settings) -> None:
        self.settings = settings
        self.teacher = teacher.in_precision()
        self.style_network = style_network_from(teacher)
        with dtype_policy("mixed_bfloat16"):
            self.transfer_network = transfer_network_from(teacher)
        self.heads = tf.constant(style_heads(teacher))
        self.features = feature_network(teacher.style_network)
        self.networks = self.style_network, self.transfer_network
        self.optimizers = [_optimizer(network, settings) for network in self.networks]
        self.state = {
            "optimizers": self.optimizers,
            "style_network": self.style_network,
            "transfer_network": self.transfer_network,
        }

    def step(self, images: DistillationImages, number: int) -> list[float]:
        """Draws the batch of a step and trains on it.

        Args:
            images: a `DistillationImages`.
            number: of the step, from 1 on.

        Returns:
            The `MEASURES`, floats.
        """
        rng = np.random.default_rng((self.settings.seed, number - 1))
        side = int(rng.choice(list(SIDES), p=list(SIDES.values())))
        count = self.settings.batch if side <= 128 else self.settings.batch // 2
        content, style = images.batch(rng, side, count)
        return [float(x) for x in self.update(content, style, *draws(rng, count))]

    @tf.function(reduce_retracing=True, autograph=False)
    def update(
        self, content: tf.Tensor, style: tf.Tensor, alpha: Array, mix: Array
    ) -> tuple[tf.Tensor, ...]:
        """Updates F and T once.

        Args:
            content, style: float32 images in [0, 1], as many of both.
            alpha: float32 [B, 1], blending factors.
            mix: float32 [B, 1], share of the next style's code that each style gets.

        Returns:
            `MEASURES`: mean PSNR of T's pictures in dB; median relative error and median energy
            of their fine detail; relative error of the teacher's codes of T's pictures; relative
            error of F's codes.
        """
        z_c, z_s = self.teacher.encode_style(content), self.teacher.encode_style(style)
        z_mixed = (1 - mix) * z_s + mix * tf.roll(z_s, 1, axis=0)
        code = (1 - alpha) * z_c + alpha * z_mixed
        target = self.teacher.stylize(content, code)
        half = tf.shape(content)[0] // 2  # F costs more than T
        small = [tf.image.resize(x[:half], (INPUT_SIZE,) * 2) for x in (content, style)]
        images, codes = tf.concat(small, axis=0), tf.concat([z_c[:half], z_s[:half]], axis=0)

        def style_loss():
            return code_loss(self.style_network(images, training=True), codes, self.heads)

        def transfer_loss():
            pictures = self.transfer_network([content, code], training=True)
            loss, error = pixel_loss(pictures, target)
            texture, measures = texture_loss(pictures, target, self.features)
            return loss + texture, error, *measures

        _, code_error = self._descend(0, style_loss)
        _, error, *measures = self._descend(1, transfer_loss)
        decibels = tf.reduce_mean(tf.math.log(error)) * (-10 / np.log(10.0))
        return decibels, *measures, code_error

    def _descend(self, number, loss):
        """Updates a network by the first value of `loss()`; returns all its values."""
        variables = self.networks[number].trainable_variables
        with tf.GradientTape() as tape:
            value, *others = loss()
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(value, variables)]
        # A gradient that is not finite, which bfloat16 gives once in a while, is left out.
        finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
        gradients = [tf.where(finite, g, 0.0) for g in gradients]
        self.optimizers[number].apply(gradients, variables)
        return value, *others

    def save_weights(self, path: PathLike) -> None:
        """Writes the student's weights as a safetensors file, for `load_stylizer`."""
        save_weights(path, "compact", self.networks, "float16")


def _optimizer(network, settings):
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, settings.steps - WARM_UP),
        warmup_target=settings.learning_rate,
        warmup_steps=WARM_UP,
    )
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
    optimizer.build(network.trainable_variables)
    return optimizer


def draws(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws α and the shares by which codes are mixed, float32 [count, 1] each."""
    usual = rng.random((count, 1)) < 0.5
    alpha = np.where(usual, rng.uniform(0.1, 0.3, (count, 1)), rng.random((count, 1)))
    mix = np.where(rng.random((count, 1)) < CODES_MIXED, rng.random((count, 1)), 0.0)
    return alpha.astype(np.float32), mix.astype(np.float32)
