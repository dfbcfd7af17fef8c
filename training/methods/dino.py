"""DINO (Caron et al. 2021, arXiv 2104.14294)."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from training.engine.strategy import mean_over_replicas
from training.methods.contrastive import alignment, normalize, spread
from training.methods.descent import descend
from training.methods.momentum import follow, target_momentum, twin
from training.methods.online_probe import Observe, unobserved
from training.methods.parts import WHOLE, Part, Sums


class WeightNormDense(layers.Layer):
    """A linear layer without bias whose weights are directions: y_k = g_k · x·v_k/‖v_k‖.

    Args:
        units: number of outputs.
        trainable_norm: whether g is learned; it begins at 1.
    """

    def __init__(self, units: int, trainable_norm: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.trainable_norm = units, trainable_norm

    def build(self, shape: tuple[Any, ...]) -> None:
        limit = shape[-1] ** -0.5  # PyTorch's default
        self.direction = self.add_weight(
            (shape[-1], self.units),
            keras.initializers.RandomUniform(-limit, limit),
            name="direction",
            autocast=False,
        )
        self.norm = self.add_weight(
            (1, self.units), "ones", name="norm", trainable=self.trainable_norm, autocast=False
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = ops.normalize(self.direction, axis=0) * self.norm
        return ops.matmul(x, ops.cast(kernel, x.dtype))

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "trainable_norm": self.trainable_norm}
        return {**super().get_config(), **own}


def teacher_probabilities(
    logits: tf.Tensor, center: tf.Tensor, temperature: float | tf.Tensor
) -> tf.Tensor:
    """Computes the teacher's output, centred and sharpened: softmax((g - c)/τ_t), float32.

    Args:
        logits: g, [..., K].
        center: c, float32 [K].
        temperature: τ_t.
    """
    return ops.softmax((ops.cast(logits, "float32") - center) / temperature, axis=-1)


def dino_loss(
    targets: tf.Tensor, student: tf.Tensor, local: tf.Tensor | None, temperature: float
) -> tf.Tensor:
    """Computes the cross-entropy of all pairs of a global view and another view (equation 3).

    The mean is over images and over pairs, of which there are 2·(1 + L).

    Args:
        targets: the teacher's probabilities for the two global views, float32 [2, n, K].
        student: the student's logits for them, [2, n, K].
        local: the student's logits for the small crops, [n, L, K]; None without them.
        temperature: τ_s.
    """

    def log_probabilities(logits: tf.Tensor) -> tf.Tensor:
        return ops.log_softmax(ops.cast(logits, "float32") / temperature, axis=-1)

    log_p = log_probabilities(student)
    others = log_p[::-1]  # to each global view the other one
    pairs = 2
    if local is not None:
        others = others + ops.sum(log_probabilities(local), axis=1)
        pairs += 2 * local.shape[1]
    cross_entropies = -ops.sum(targets * others, axis=-1)  # 2 x n
    return ops.sum(ops.mean(cross_entropies, axis=1)) / pairs


class DINO(keras.Model):
    """DINO: a student gives all crops of an image the teacher's output for its global ones.

    Args:
        encoder: images to features [B, D]; the teacher's, which evaluations take. The student's is
            a copy with the same weights; drop path and dropout are the student's alone.
        total_steps, steps_per_epoch: length of the run and of an epoch, for the schedules.
        prototypes: K, number of outputs.
        hidden_dim, bottleneck_dim: widths of the head, `hidden → GELU → hidden → GELU → bottleneck
            → unit length → weight-normalised layer of K`.
        norm_last_layer: whether the rows of the last layer keep unit length. False gives better
            results and is less stable.
        freeze_last_layer: number of epochs in which the last layer stays as it is.
        base_momentum: λ of the teacher's moving average at the start; it grows to 1 by a cosine.
        center_momentum: m of equation 4.
        student_temperature: τ_s.
        teacher_temperature: τ_t after its warm-up.
        warmup_teacher_temperature: τ_t in the first epoch.
        warmup_teacher_temperature_epochs: number of epochs in which it grows to
            `teacher_temperature`; 0: it has that from the start.

    `trainable_variables` are those of the student alone. Source: facebookresearch/dino,
    main_dino.py and vision_transformer.py.
    """

    def __init__(
        self,
        encoder: keras.Model,
        total_steps: int,
        steps_per_epoch: int,
        prototypes: int = 65536,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        norm_last_layer: bool = True,
        freeze_last_layer: float = 1.0,
        base_momentum: float = 0.996,
        center_momentum: float = 0.9,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        warmup_teacher_temperature: float = 0.04,
        warmup_teacher_temperature_epochs: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.student = encoder
        self.encoder = twin(encoder, dropout=False)
        width = encoder.output_shape[-1]
        self.projector = _projector(width, hidden_dim, bottleneck_dim)
        self.last_layer = WeightNormDense(
            prototypes, trainable_norm=not norm_last_layer, name="last_layer"
        )
        self.last_layer.build((None, bottleneck_dim))
        self.teacher_projector = twin(self.projector)
        self.teacher_last_layer = WeightNormDense(
            prototypes, trainable_norm=not norm_last_layer, name="teacher_last_layer"
        )
        self.teacher_last_layer.build((None, bottleneck_dim))
        self.teacher_last_layer.set_weights(self.last_layer.get_weights())
        self.center = self.add_weight(
            (prototypes,),
            "zeros",
            "float32",
            name="center",
            trainable=False,
            aggregation="only_first_replica",  # every replica computes the same
            autocast=False,
        )
        self.logit_sums = Sums([self.center])
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
        self.frozen_steps = round(freeze_last_layer * steps_per_epoch)
        self.base_momentum = base_momentum
        self.center_momentum = center_momentum
        self.student_temperature = student_temperature
        warmup = warmup_teacher_temperature, teacher_temperature
        # By epoch, as in the source; the last one is that of all epochs that follow.
        self.teacher_temperatures = np.array(
            [*np.linspace(*warmup, warmup_teacher_temperature_epochs), teacher_temperature],
            np.float32,
        )
        self.built = True

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        networks = self.student, self.projector, self.last_layer
        return [variable for network in networks for variable in network.trainable_variables]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the teacher's representation, which evaluations use."""
        return self.encoder(images, training=training)

    def teacher_temperature(self) -> tf.Tensor:
        """Computes τ_t of the epoch that the next step lies in."""
        epoch = ops.cast(self.optimizer.iterations, "int32") // self.steps_per_epoch
        last = len(self.teacher_temperatures) - 1
        return ops.take(self.teacher_temperatures, ops.minimum(epoch, last))

    def teach(self, h: tf.Tensor) -> tf.Tensor:
        """Computes the teacher's logits, float32 [B, K], of its features [B, D]."""
        z = self.teacher_projector(h, training=True)
        return ops.cast(self.teacher_last_layer(z), "float32")

    def project(self, views: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Computes the student's unit projections: of the global views, [2n, d], and of the small
        crops, [n, L, d], or None."""
        both = ops.concatenate([views["left"], views["right"]], axis=0)
        z = self.projector(self.student(both, training=True), training=True)
        if "local" not in views:
            return z, None
        crops = views["local"]
        n, count = crops.shape[:2]
        features = self.student(ops.reshape(crops, (-1, *crops.shape[2:])), training=True)
        z_local = self.projector(features, training=True)
        return z, ops.reshape(z_local, (-1 if n is None else n, count, z_local.shape[-1]))

    def train_step(
        self,
        views: dict[str, tf.Tensor],
        observe: Observe = unobserved,
        part: Part = WHOLE,
    ) -> dict[str, tf.Tensor]:
        """Trains on a batch {"left", "right"}, and "local" [n, L, ...]; returns {name: scalar}."""
        step, n = self.optimizer.iterations, ops.shape(views["left"])[0]
        momentum = target_momentum(self.base_momentum, step, self.total_steps)
        temperature = self.teacher_temperature()
        both = ops.concatenate([views["left"], views["right"]], axis=0)
        h = self.encoder(both, training=True)  # 2n x D
        logits = self.teach(h)
        targets = teacher_probabilities(logits, self.center, temperature)
        targets = ops.reshape(targets, (2, n, targets.shape[-1]))
        with tf.GradientTape() as tape:
            z, z_local = self.project(views)
            student = self.last_layer(z)
            student = ops.reshape(student, (2, n, student.shape[-1]))
            local = None if z_local is None else self.last_layer(z_local)
            loss = dino_loss(targets, student, local, self.student_temperature)
        self._descend(tape, loss, part, frozen=step < self.frozen_steps)
        mean = mean_over_replicas(ops.mean(logits, axis=0)) / part.count
        (mean,) = self.logit_sums.add([mean], part)
        if part.last:
            self._follow(momentum, mean)
        z_left, z_right = normalize(z[:n]), normalize(z[n:])
        entropy = -ops.sum(targets * ops.log(ops.maximum(targets, 1e-30)), axis=-1)
        return {
            "loss": loss,
            "alignment": alignment(z_left, z_right),
            "spread": spread(z_left),
            "teacher_entropy": ops.mean(entropy),
            "teacher_temperature": temperature,
            "target_momentum": momentum,
            **observe(h[n:]),
        }

    def _follow(self, momentum, mean):
        """Moves the teacher after the student, and the centre after the mean of its logits."""
        for teacher, student in (
            (self.encoder, self.student),
            (self.teacher_projector, self.projector),
            (self.teacher_last_layer, self.last_layer),
        ):
            follow(teacher, student, momentum)
        self.center.assign(self.center_momentum * self.center + (1 - self.center_momentum) * mean)

    def _descend(self, tape, loss, part, frozen):
        """Takes a step, and puts the last layer back as it was while it is frozen.

        The source leaves it out of the optimizer's step. Here its moments follow the gradient from
        the start: Adam's correction of their zero beginning counts the steps of all weights.
        """
        held = self.last_layer.trainable_variables if part.last else []
        before = [(v, ops.copy(v)) for v in held]
        descend(self, tape, loss, part)
        for variable, value in before:
            variable.assign(ops.where(frozen, value, variable))


def _projector(width, hidden_dim, bottleneck_dim):
    """Builds the head up to the unit vectors that its last layer takes."""

    def dense(units):
        return layers.Dense(units, kernel_initializer=keras.initializers.RandomNormal(stddev=0.02))

    network = keras.Sequential(
        [
            dense(hidden_dim),
            layers.Activation("gelu"),
            dense(hidden_dim),
            layers.Activation("gelu"),
            dense(bottleneck_dim),
            layers.UnitNormalization(dtype="float32"),
        ],
        name="projector",
    )
    network.build((None, width))
    return network
