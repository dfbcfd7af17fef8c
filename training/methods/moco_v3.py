"""MoCo v3 (Chen et al. 2021, arXiv 2104.02057)."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from sassl_tf.errors import UserError
from sassl_tf.vit import PATCH_LAYER
from training.engine.strategy import global_batch, replicas
from training.methods.contrastive import alignment, normalize, spread
from training.methods.descent import descend
from training.methods.heads import mlp
from training.methods.momentum import follow, target_momentum, twin
from training.methods.online_probe import Observe, unobserved
from training.methods.parts import WHOLE, Part


def contrastive_loss(q: tf.Tensor, k: tf.Tensor, temperature: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes 2τ·InfoNCE of queries against the keys of the global batch (equation 1).

    The positive of a query is the key of its image, and its negatives are the keys of the others.

    Args:
        q, k: this replica's, unit rows [n, C]; row i of both is image i.
        temperature: τ.

    Returns:
        The mean loss over this replica's queries, and the share of them whose own key is the
        nearest.
    """
    n = ops.shape(q)[0]
    replica, _ = replicas()
    positions = replica * n + ops.arange(n)  # of this replica's images in the global batch
    logits = ops.matmul(q, ops.transpose(global_batch(k))) / temperature  # n x N
    own = ops.sum(logits * ops.one_hot(positions, ops.shape(logits)[1], dtype="float32"), axis=1)
    nearest = ops.cast(ops.argmax(logits, axis=1), "int32")
    loss = ops.mean(ops.logsumexp(logits, axis=1) - own)
    return 2 * temperature * loss, ops.mean(ops.cast(nearest == positions, "float32"))


class MoCoV3(keras.Model):
    """MoCo v3: each view predicts the momentum encoder's key of the other one; no queue.

    Args:
        encoder: f_q, images to features [B, D].
        total_steps: length of the schedule of m.
        hidden_dim, projection_dim: widths of the projector and of the predictor, each of layers
            `hidden → BN → ReLU` and a last one.
        projector_layers: number of the projector's layers, of which the last has a BN without γ and
            β: 3 for a vision transformer, 2 for a ResNet. The predictor has two.
        predictor_batch_norm: whether the predictor's last layer has such a BN too: True for a
            vision transformer, False for a ResNet.
        base_momentum: m at the start; it grows to 1 by a cosine.
        temperature: τ.
        frozen_projection: whether a vision transformer's patch projection keeps its random weights,
            which makes training stable (section 4.2).

    `trainable_variables` are those of the query networks alone. Source: facebookresearch/moco-v3,
    moco/builder.py and vits.py.

    Raises:
        ValueError: the encoder has no patch projection that could be frozen.
    """

    def __init__(
        self,
        encoder: keras.Model,
        total_steps: int,
        hidden_dim: int = 4096,
        projection_dim: int = 256,
        projector_layers: int = 3,
        predictor_batch_norm: bool = True,
        base_momentum: float = 0.99,
        temperature: float = 0.2,
        frozen_projection: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        widths = (*[hidden_dim] * (projector_layers - 1), projection_dim)
        self.projector = mlp("projector", encoder.output_shape[-1], widths, last_batch_norm=True)
        widths = (hidden_dim, projection_dim)
        self.predictor = mlp(
            "predictor", projection_dim, widths, last_batch_norm=predictor_batch_norm
        )
        self.key_encoder = twin(self.encoder)
        self.key_projector = twin(self.projector)
        self.frozen = frozenset(
            variable.path
            for variable in encoder.trainable_variables
            if frozen_projection and f"{PATCH_LAYER}/" in variable.path
        )
        if frozen_projection and not self.frozen:
            raise UserError(
                f"moco_v3.frozen_projection is True, and {encoder.name} has no projection of "
                "patches. Set --config.moco_v3.frozen_projection=False."
            )
        self.total_steps = total_steps
        self.base_momentum = base_momentum
        self.temperature = temperature
        self.built = True

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        networks = self.encoder, self.projector, self.predictor
        variables = [v for network in networks for v in network.trainable_variables]
        return [v for v in variables if v.path not in self.frozen]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the representation f_q(x), which evaluations use."""
        return self.encoder(images, training=training)

    def key(self, images: tf.Tensor) -> tf.Tensor:
        """Computes unit keys [B, C] by the momentum encoder."""
        return normalize(self.key_projector(self.key_encoder(images, training=True), training=True))

    def query(self, h: tf.Tensor) -> tf.Tensor:
        """Computes unit queries [B, C] of features [B, D]."""
        z = self.projector(h, training=True)
        return normalize(self.predictor(z, training=True))

    def train_step(
        self,
        views: dict[str, tf.Tensor],
        observe: Observe = unobserved,
        part: Part = WHOLE,
    ) -> dict[str, tf.Tensor]:
        """Trains on a batch {"left", "right"}; returns {name: scalar}."""
        m = target_momentum(self.base_momentum, self.optimizer.iterations, self.total_steps)
        if part.first:
            follow(self.key_encoder, self.encoder, m)
            follow(self.key_projector, self.projector, m)
        # One view at a time, as in the source: batch norm is over images of one view.
        k_left, k_right = self.key(views["left"]), self.key(views["right"])
        with tf.GradientTape() as tape:
            h_left, h_right = (self.encoder(views[s], training=True) for s in ("left", "right"))
            q_left, q_right = self.query(h_left), self.query(h_right)
            loss_left, accuracy_left = contrastive_loss(q_left, k_right, self.temperature)
            loss_right, accuracy_right = contrastive_loss(q_right, k_left, self.temperature)
            loss = loss_left + loss_right
        descend(self, tape, loss, part)
        return {
            "loss": loss,
            "contrastive_accuracy": (accuracy_left + accuracy_right) / 2,
            "alignment": alignment(q_left, k_right),
            "spread": spread(q_left),
            "target_momentum": m,
            **observe(h_right),
        }
