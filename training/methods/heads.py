"""The heads that BYOL, SimSiam, Barlow Twins, VICReg and MoCo v3 share."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from training.engine.strategy import several_replicas


def mlp(
    name: str,
    input_dim: int,
    widths: Sequence[int],
    hidden_bias: bool = False,
    last_bias: bool = False,
    last_batch_norm: bool = False,
) -> keras.Sequential:
    """Builds `Dense → BN → ReLU` for each width but the last, which has a Dense alone.

    Args:
        name: the name of the network.
        input_dim: the width of its input.
        widths: the widths of its layers; the last one is that of the output.
        hidden_bias: whether the hidden layers have biases, which their BN makes useless.
        last_bias: whether the last layer has a bias.
        last_batch_norm: whether a BN without γ and β follows the last layer.
    """

    def batch_norm(**arguments: Any) -> layers.Layer:
        return layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, synchronized=several_replicas(), **arguments
        )

    stack = []
    for width in widths[:-1]:
        stack += [layers.Dense(width, use_bias=hidden_bias), batch_norm(), layers.ReLU()]
    stack.append(layers.Dense(widths[-1], use_bias=last_bias))
    if last_batch_norm:
        stack.append(batch_norm(center=False, scale=False))
    network = keras.Sequential(stack, name=name)
    network.build((None, input_dim))
    return network
