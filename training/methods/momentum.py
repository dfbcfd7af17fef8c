"""The copy of a network that follows it slowly, from which BYOL and MoCo learn."""

import keras
import tensorflow as tf


def twin(network: keras.Model) -> keras.Model:
    """Returns a network of the same layers and weights, with variables of its own."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def follow(target: keras.Model, online: keras.Model, momentum: float | tf.Tensor) -> None:
    """Updates the parameters of a target network, ξ ← m·ξ + (1 - m)·θ.

    The moving statistics of batch normalisation are not parameters: the target has those of its own
    forward passes, as in both sources.

    Args:
        target, online: networks of the same layers; ξ and θ are their trainable variables.
        momentum: m (τ in BYOL), a number or a tensor.
    """
    for xi, theta in zip(target.trainable_variables, online.trainable_variables, strict=True):
        xi.assign(momentum * xi + (1 - momentum) * theta)
