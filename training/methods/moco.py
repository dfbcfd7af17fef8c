"""MoCo v2 (Chen et al. 2020, arXiv 2003.04297; He et al. 2019, arXiv 1911.05722)."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from sassl_tf.errors import UserError
from training.engine.strategy import global_batch, replicas
from training.methods.contrastive import normalize, spread
from training.methods.descent import descend
from training.methods.momentum import follow, twin
from training.methods.online_probe import Observe, unobserved
from training.methods.parts import WHOLE, Part


def info_nce(
    q: tf.Tensor, k: tf.Tensor, queue: tf.Tensor, temperature: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes InfoNCE (He et al. 2019, equation 1): each query against its key and the queue.

    Args:
        q, k: unit rows [n, C]; row i of both is image i.
        queue: unit rows [K, C], the negatives.
        temperature: τ.

    Returns:
        The mean loss, and the share of queries whose own key is the nearest.
    """
    positive = ops.sum(q * k, axis=1, keepdims=True)  # n x 1
    negative = ops.matmul(q, ops.transpose(queue))  # n x K
    logits = ops.concatenate([positive, negative], axis=1) / temperature  # n x (1 + K)
    loss = ops.logsumexp(logits, axis=1) - logits[:, 0]
    return ops.mean(loss), ops.mean(ops.cast(ops.argmax(logits, axis=1) == 0, "float32"))


class MoCo(keras.Model):
    """MoCo v2: a query is matched to the key of its image, against a queue of earlier keys.

    Args:
        encoder: f_q, images to features [B, D].
        hidden_dim, projection_dim: widths of the MLP head, `hidden → ReLU → projection`, no BN.
        queue_size: K; a multiple of the global batch.
        momentum: m, for the key encoder.
        temperature: τ.
        batch_norm_groups: number of parts of the global batch, each of which batch normalisation
            treats alone. Keys are shuffled first, so that a key does not share its statistics with
            its query, which would give it away (He et al. 2019, section 3.3). The source has one
            part on each of 8 GPUs; its CIFAR demonstration has 8 parts on one.

    `trainable_variables` are those of the query networks alone. Source: facebookresearch/moco,
    moco/builder.py.
    """

    def __init__(
        self,
        encoder: keras.Model,
        hidden_dim: int = 2048,
        projection_dim: int = 128,
        queue_size: int = 65536,
        momentum: float = 0.999,
        temperature: float = 0.2,
        batch_norm_groups: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.projector = keras.Sequential(
            [layers.Dense(hidden_dim, activation="relu"), layers.Dense(projection_dim)],
            name="projector",
        )
        self.projector.build(encoder.output_shape)
        self.key_encoder = twin(self.encoder)
        self.key_projector = twin(self.projector)
        # Every replica computes the same queue from the gathered keys.
        same = {"trainable": False, "aggregation": "only_first_replica", "autocast": False}
        self.queue = self.add_weight(
            (queue_size, projection_dim), "random_normal", "float32", name="queue", **same
        )
        self.queue.assign(normalize(self.queue))
        self.pointer = self.add_weight((), "zeros", "int32", name="pointer", **same)
        self.momentum = momentum
        self.temperature = temperature
        self.batch_norm_groups = batch_norm_groups
        self.built = True

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        return self.encoder.trainable_variables + self.projector.trainable_variables

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the representation f_q(x), which evaluations use."""
        return self.encoder(images, training=training)

    def train_step(
        self,
        views: dict[str, tf.Tensor],
        observe: Observe = unobserved,
        part: Part = WHOLE,
    ) -> dict[str, tf.Tensor]:
        """Trains on a batch {"left", "right"}; returns {name: scalar}."""
        self._check_batch(views["left"])
        if part.first:
            follow(self.key_encoder, self.encoder, self.momentum)
            follow(self.key_projector, self.projector, self.momentum)
        k = ops.stop_gradient(self._keys(views["right"]))  # n x C
        with tf.GradientTape() as tape:
            h, q = self._encode_in_groups(self.encoder, self.projector, views["left"])
            loss, accuracy = info_nce(q, k, self.queue, self.temperature)
        descend(self, tape, loss, part)
        self._enqueue(global_batch(k))
        return {
            "loss": loss,
            "contrastive_accuracy": accuracy,
            "spread": spread(q),
            **observe(h),  # of the left view: the encoder sees no other
        }

    def _keys(self, images):
        """Computes unit keys of this replica's images, encoded in a shuffled global batch."""
        n = images.shape[0]
        everything = global_batch(images)
        # The order is the same on every replica and after a restart: it depends on the step alone.
        # (XLA has no shuffle.)
        seed = ops.stack([ops.cast(self.optimizer.iterations, "int32"), 0])
        order = tf.argsort(
            tf.random.stateless_uniform(
                everything.shape[:1], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
            ),
            stable=True,
        )
        replica, _ = replicas()
        share = tf.gather(everything, tf.gather(order, replica * n + tf.range(n)))
        _, k = self._encode_in_groups(self.key_encoder, self.key_projector, share)
        back = tf.gather(tf.argsort(order), replica * n + tf.range(n))
        return tf.gather(global_batch(k), back)

    def _encode_in_groups(self, encoder, projector, images):
        """Computes features, and unit projections; batch norm is over one group at a time."""
        _, count = replicas()
        groups = max(1, self.batch_norm_groups // count)
        parts = [encoder(part, training=True) for part in ops.split(images, groups)]
        h = ops.concatenate(parts)
        return h, normalize(projector(h, training=True))

    def _enqueue(self, k):
        """Replaces the oldest keys of the queue by those of the global batch."""
        places = self.pointer + ops.arange(k.shape[0])
        self.queue.assign(ops.scatter_update(self.queue, places[:, None], k))
        self.pointer.assign((self.pointer + k.shape[0]) % self.queue.shape[0])

    def _check_batch(self, images):
        if images.shape[0] is None:
            raise UserError("MoCo needs batches of a fixed size: batch with drop_remainder=True.")
        _, count = replicas()
        batch, groups, size = images.shape[0] * count, self.batch_norm_groups, self.queue.shape[0]
        if size % batch:
            raise UserError(
                f"queue_size is {size}; expected a multiple of the global batch, {batch}."
            )
        if groups > 1 and (batch % groups or batch == groups):
            raise UserError(
                f"batch_norm_groups is {groups}; expected a divisor of the global batch, {batch}, "
                "that leaves several images a group."
            )
