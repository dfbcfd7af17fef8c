"""Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230)."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from training.engine.strategy import global_batch
from training.methods.contrastive import alignment, normalize, spread
from training.methods.descent import descend
from training.methods.heads import mlp
from training.methods.online_probe import Observe, unobserved
from training.methods.parts import WHOLE, Part

_EPSILON = 1e-5  # of the source's batch normalisation, which standardises the projections


def cross_correlation(z_left: tf.Tensor, z_right: tf.Tensor) -> tf.Tensor:
    """Computes C of equation 2: correlations over images of all pairs of dimensions, [D, D].

    Args:
        z_left, z_right: projections of the global batch, [N, D]; row i of both is image i.
    """
    left, right = _standardized(z_left), _standardized(z_right)
    return ops.matmul(ops.transpose(left), right) / ops.cast(ops.shape(left)[0], "float32")


def terms(correlation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes Σ (1 - C_ii)² and Σ_{i≠j} C_ij², the two sums of equation 1."""
    diagonal = ops.diagonal(correlation)
    others = correlation * (1 - ops.eye(correlation.shape[0]))
    return ops.sum(ops.square(1 - diagonal)), ops.sum(ops.square(others))


def _standardized(z):
    z = ops.cast(z, "float32")
    mean, variance = ops.mean(z, axis=0), ops.var(z, axis=0)
    return (z - mean) / ops.sqrt(variance + _EPSILON)


class BarlowTwins(keras.Model):
    """Barlow Twins: each dimension agrees between the views, and no two dimensions say the same.

    Args:
        encoder: f, images to features [B, D].
        hidden_dim, projection_dim: widths of the projector, `hidden → BN → ReLU → hidden → BN →
            ReLU → projection`.
        redundancy_weight: λ of equation 1.

    The correlations are over the global batch. Source: facebookresearch/barlowtwins, main.py.
    """

    def __init__(
        self,
        encoder: keras.Model,
        hidden_dim: int = 8192,
        projection_dim: int = 8192,
        redundancy_weight: float = 0.0051,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        widths = (hidden_dim, hidden_dim, projection_dim)
        self.projector = mlp("projector", encoder.output_shape[-1], widths)
        self.redundancy_weight = redundancy_weight
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the representation f(x), which evaluations use."""
        return self.encoder(images, training=training)

    def train_step(
        self,
        views: dict[str, tf.Tensor],
        observe: Observe = unobserved,
        part: Part = WHOLE,
    ) -> dict[str, tf.Tensor]:
        """Trains on a batch {"left", "right"}; returns {name: scalar}."""
        with tf.GradientTape() as tape:
            # One view at a time, as in the source: batch norm is over images of one view.
            z_left = self.projector(self.encoder(views["left"], training=True), training=True)
            h_right = self.encoder(views["right"], training=True)
            z_right = self.projector(h_right, training=True)
            correlation = cross_correlation(global_batch(z_left), global_batch(z_right))
            invariance, redundancy = terms(correlation)
            loss = invariance + self.redundancy_weight * redundancy
        descend(self, tape, loss, part)
        z_left, z_right = normalize(z_left), normalize(z_right)
        return {
            "loss": loss,
            "invariance": invariance,
            "redundancy": redundancy,
            "alignment": alignment(z_left, z_right),
            "spread": spread(z_left),
            **observe(h_right),
        }
