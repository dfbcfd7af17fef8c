"""BYOL (Grill et al. 2020, arXiv 2006.07733)."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from training.methods.contrastive import alignment, normalize, spread
from training.methods.descent import descend
from training.methods.heads import mlp
from training.methods.momentum import follow, target_momentum, twin
from training.methods.online_probe import Observe, unobserved
from training.methods.parts import WHOLE, Part


def regression_loss(prediction: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Computes ‖q̄ - z̄'‖² = 2 - 2·cos(q, z') for each row (equation 2)."""
    return ops.sum(ops.square(normalize(prediction) - normalize(target)), axis=-1)


class BYOL(keras.Model):
    """BYOL: an online network predicts a target network's projection of the other view.

    Args:
        encoder: f_θ, images to features [B, D].
        total_steps: K, length of the schedule of τ.
        hidden_dim, projection_dim: widths of the projector g and of the predictor q.
        base_momentum: τ_base.

    `trainable_variables` are θ alone; ξ, those of the target network, follow them. Source:
    google-deepmind/deepmind-research, byol/byol_experiment.py.
    """

    def __init__(
        self,
        encoder: keras.Model,
        total_steps: int,
        hidden_dim: int = 4096,
        projection_dim: int = 256,
        base_momentum: float = 0.996,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        # networks.py, MLP: the hidden layer has a bias beside its batch norm.
        widths = hidden_dim, projection_dim
        width = encoder.output_shape[-1]
        self.projector = mlp("projector", width, widths, hidden_bias=True)
        self.predictor = mlp("predictor", projection_dim, widths, hidden_bias=True)
        self.target_encoder = twin(self.encoder)
        self.target_projector = twin(self.projector)
        self.total_steps = total_steps
        self.base_momentum = base_momentum
        self.built = True

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        networks = self.encoder, self.projector, self.predictor
        return [variable for network in networks for variable in network.trainable_variables]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the representation y = f_θ(x), which evaluations use."""
        return self.encoder(images, training=training)

    def target(self, images: tf.Tensor) -> tf.Tensor:
        """Computes z' = g_ξ(f_ξ(x')), [B, projection_dim]; batch norm is over this view alone."""
        return self.target_projector(self.target_encoder(images, training=True), training=True)

    def train_step(
        self,
        views: dict[str, tf.Tensor],
        observe: Observe = unobserved,
        part: Part = WHOLE,
    ) -> dict[str, tf.Tensor]:
        """Trains on a batch {"left", "right"}; returns {name: scalar}."""
        # One view at a time, as in the source: batch norm is over images of one view. (The two
        # views differ in distribution, so that one pass for both would not be the same.)
        target_left, target_right = self.target(views["left"]), self.target(views["right"])
        with tf.GradientTape() as tape:
            z_left = self.projector(self.encoder(views["left"], training=True), training=True)
            h_right = self.encoder(views["right"], training=True)
            z_right = self.projector(h_right, training=True)
            loss = regression_loss(self.predictor(z_left, training=True), target_right)
            loss += regression_loss(self.predictor(z_right, training=True), target_left)
            loss = ops.mean(loss)
        # τ of this step, before the optimizer counts it.
        tau = target_momentum(self.base_momentum, self.optimizer.iterations, self.total_steps)
        descend(self, tape, loss, part)
        if part.last:
            follow(self.target_encoder, self.encoder, tau)
            follow(self.target_projector, self.projector, tau)
        return {
            "loss": loss,
            "alignment": alignment(normalize(z_left), normalize(z_right)),
            "spread": spread(normalize(z_left)),
            "target_momentum": tau,
            **observe(h_right),
        }
