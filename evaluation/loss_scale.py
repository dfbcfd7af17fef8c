"""Loss scaling, without which small gradients become 0 in float16 (Micikevicius et al. 2018)."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from training.encoders import all_layers


def computes_in_float16(model: keras.Model) -> bool:
    """Returns whether a layer of a model does, as those pretrained with mixed_float16 do."""
    return any(layer.compute_dtype == "float16" for layer in all_layers(model))


def with_loss_scale(
    optimizer: keras.optimizers.Optimizer, model: keras.Model
) -> keras.optimizers.Optimizer:
    """Returns the optimizer for a model: one that scales the loss if the model needs it.

    It skips the steps whose gradients overflow, and halves the scale then.
    """
    if computes_in_float16(model):
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def gradients_of(
    tape: tf.GradientTape,
    loss: tf.Tensor,
    optimizer: keras.optimizers.Optimizer,
    variables: Sequence[keras.Variable],
) -> list[Any]:
    """Returns the gradients as the optimizer's `apply` takes them: of the loss times its scale."""
    scale = optimizer.scale_loss(tf.ones((), loss.dtype))
    return tape.gradient(loss, variables, output_gradients=scale)
