"""Drop path: branches of a residual network that are left out by chance, for some images."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops


class ReplicaSeeds(keras.random.SeedGenerator):
    """A `SeedGenerator` whose seeds differ between the replicas of a strategy.

    Keras's own counts on every replica alike, so that all of them draw the same numbers. On the
    first replica, and without a strategy, the seeds are those of Keras's.
    """

    def next(self, ordered: bool = True) -> Any:
        seed = super().next(ordered)
        context = tf.distribute.get_replica_context()
        if keras.backend.backend() != "tensorflow" or context is None:
            return seed
        replica = ops.cast(context.replica_id_in_sync_group, seed.dtype)
        return seed + ops.stack([replica, ops.zeros_like(replica)])


@keras.saving.register_keras_serializable(package="sassl_tf")
class DropPath(keras.layers.Layer):
    """Sets a branch to 0 for some images, in training (stochastic depth, arXiv 1603.09382).

    Images keep their branch with the probability 1 - `rate`, and it is then divided by that.

    Args:
        rate: the probability that a branch [B, N, D] is left out, in [0, 1).
        seed: int; None for a random one.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed
        self.seed_generator = ReplicaSeeds(seed) if rate > 0 else None
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return inputs
        # Keras's dropout would draw in the type of its input: in bfloat16 one of 128 numbers.
        shape = (ops.shape(inputs)[0], 1, 1)
        drawn = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        factors = ops.cast(drawn >= self.rate, "float32") / (1 - self.rate)
        return ops.cast(ops.cast(inputs, "float32") * factors, inputs.dtype)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
