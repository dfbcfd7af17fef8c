"""The slowly moving twin of a network that BYOL and MoCo learn from."""

import keras


def twin(network):
    """A network of the same layers and weights, with variables of its own."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def follow(target, online, momentum):
    """ξ ← m·ξ + (1 - m)·θ, over the parameters only.

    The moving statistics of batch normalisation are no parameters: the target keeps those of its
    own forward passes, as in both sources.

    Args:
        target, online: networks of the same layers; ξ and θ are their trainable variables.
        momentum: m (τ in BYOL), a number or a tensor.
    """
    for xi, theta in zip(target.trainable_variables, online.trainable_variables, strict=True):
        xi.assign(momentum * xi + (1 - momentum) * theta)
