"""The copy of a network that follows it slowly, from which BYOL, MoCo and DINO learn."""

import math

import keras
import tensorflow as tf
from keras import ops

from sassl_tf.drop_path import DropPath

DROPOUT_LAYERS = (
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    DropPath,
)
# Those of layers that drop something beside what else they do, such as MultiHeadAttention.
DROPOUT_ARGUMENTS = {"dropout", "dropout_rate", "attention_dropout", "recurrent_dropout"}


def twin(network: keras.Model, dropout: bool = True) -> keras.Model:
    """Returns a network of the same layers and weights, with variables of its own.

    Args:
        network: a Keras model.
        dropout: False for a copy without dropout and drop path. They are found by the arguments of
            the network's layers; a layer of one's own that makes a Dropout inside keeps it.
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return twin(layer, dropout)
        config = layer.get_config()
        if isinstance(layer, DROPOUT_LAYERS):
            config["rate"] = 0.0
        config.update(dict.fromkeys(DROPOUT_ARGUMENTS & config.keys(), 0.0))
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(network, clone_function=None if dropout else clone)
    copy.set_weights(network.get_weights())
    return copy


def follow(target: keras.Model, online: keras.Model, momentum: float | tf.Tensor) -> None:
    """Updates the parameters of a target network, ξ ← m·ξ + (1 - m)·θ.

    The moving statistics of batch normalisation are not parameters: the target has those of its own
    forward passes, as in the sources.

    Args:
        target, online: networks of the same layers; ξ and θ are their trainable variables.
        momentum: m (τ in BYOL), a number or a tensor.
    """
    for xi, theta in zip(target.trainable_variables, online.trainable_variables, strict=True):
        xi.assign(momentum * xi + (1 - momentum) * theta)


def target_momentum(base: float, step: int | tf.Tensor, total_steps: int) -> tf.Tensor:
    """Computes τ = 1 - (1 - τ_base)·(cos(πk/K) + 1)/2, from τ_base to 1.

    Sources: BYOL (arXiv 2006.07733), section 3.3; MoCo v3 and DINO have the same.

    Args:
        base: τ_base, the momentum of the first step.
        step: k, from 0 on.
        total_steps: K.
    """
    progress = ops.cast(step, "float32") / total_steps
    return 1 - (1 - base) * (ops.cos(math.pi * progress) + 1) / 2
