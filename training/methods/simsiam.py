"""SimSiam (Chen & He 2020, arXiv 2011.10566)."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from training.methods.contrastive import alignment, normalize, spread
from training.methods.descent import descend
from training.methods.heads import mlp
from training.methods.online_probe import Observe, unobserved
from training.methods.parts import WHOLE, Part


class SimSiam(keras.Model):
    """SimSiam: each view predicts the other's projection, through which no gradient flows.

    Args:
        encoder: the backbone of f, images to features [B, D].
        hidden_dim: width of the predictor h, `hidden → BN → ReLU → projection`, a bottleneck.
        projection_dim: width of the projection z, and of the prediction p.

    The projector is `D → BN → ReLU → D → BN → ReLU → projection → BN`, the last without γ and β.
    Source: facebookresearch/simsiam, simsiam/builder.py.
    """

    def __init__(
        self, encoder: keras.Model, hidden_dim: int = 512, projection_dim: int = 2048, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        width = encoder.output_shape[-1]
        widths = width, width, projection_dim
        self.projector = mlp("projector", width, widths, last_batch_norm=True)
        self.predictor = mlp(
            "predictor", projection_dim, (hidden_dim, projection_dim), last_bias=True
        )
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the representation, which evaluations use."""
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
            p_left, p_right = (self.predictor(z, training=True) for z in (z_left, z_right))
            loss = distance(p_left, z_right) / 2 + distance(p_right, z_left) / 2
        descend(self, tape, loss, part)
        z_left, z_right = normalize(z_left), normalize(z_right)
        return {
            "loss": loss,
            "alignment": alignment(z_left, z_right),
            "spread": spread(z_left),
            **observe(h_right),
        }


def distance(p: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Computes D(p, stopgrad(z)) = -cos(p, z), the mean over rows (equations 1 and 3)."""
    return -ops.mean(ops.sum(normalize(p) * ops.stop_gradient(normalize(z)), axis=-1))
