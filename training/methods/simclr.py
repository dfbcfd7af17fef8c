"""SimCLR (Chen et al. 2020, arXiv 2002.05709)."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from training.engine.strategy import several_replicas
from training.methods.contrastive import alignment, normalize, nt_xent, uniformity
from training.methods.descent import descend
from training.methods.online_probe import Observe, unobserved
from training.methods.parts import WHOLE, Part


class SimCLR(keras.Model):
    """SimCLR: two views of an image attract each other, and views of different images repel.

    Args:
        encoder: f, images to features [B, D].
        hidden_dim, projection_dim: widths of the projection head g, `hidden → BN → ReLU →
            projection → BN` (google-research/simclr, tf2/model.py, ProjectionHead).
        temperature: τ.

    `compile(optimizer)` and `fit` on batches `{"left": ..., "right": ...}` train it on one device;
    `training.pretrain` calls `train_step` under any strategy.
    """

    def __init__(
        self,
        encoder: keras.Model,
        hidden_dim: int = 2048,
        projection_dim: int = 128,
        temperature: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        batch_norm = {"momentum": 0.9, "epsilon": 1e-5, "synchronized": several_replicas()}
        self.projector = keras.Sequential(
            [
                layers.Dense(hidden_dim, use_bias=False),
                layers.BatchNormalization(**batch_norm),
                layers.ReLU(),
                layers.Dense(projection_dim, use_bias=False),
                # No β: the source leaves the output's mean at zero.
                layers.BatchNormalization(**batch_norm, center=False),
            ],
            name="projector",
        )
        self.projector.build(encoder.output_shape)
        self.temperature = temperature
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the representation h = f(x), which evaluations use."""
        return self.encoder(images, training=training)

    def train_step(
        self,
        views: dict[str, tf.Tensor],
        observe: Observe = unobserved,
        part: Part = WHOLE,
    ) -> dict[str, tf.Tensor]:
        """Trains on a batch {"left", "right"}; returns {name: scalar}."""
        n = ops.shape(views["left"])[0]
        with tf.GradientTape() as tape:
            x = ops.concatenate([views["left"], views["right"]], axis=0)  # 2n x H x W x 3
            h = self.encoder(x, training=True)  # 2n x D
            z = normalize(self.projector(h, training=True))  # 2n x projection_dim
            z_left, z_right = z[:n], z[n:]
            loss, accuracy = nt_xent(z_left, z_right, self.temperature)
        descend(self, tape, loss, part)
        pairs = z_left.shape[0] != 1  # a replica with one image has none
        return {
            "loss": loss,
            "contrastive_accuracy": accuracy,
            "alignment": alignment(z_left, z_right),
            **({"uniformity": uniformity(z_left)} if pairs else {}),
            **observe(h[n:]),
        }
