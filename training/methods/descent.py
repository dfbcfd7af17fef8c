"""The gradient step that all methods share."""

import keras
import tensorflow as tf
from keras import ops

from training.engine.strategy import replicas
from training.methods.parts import WHOLE, Part


def descend(
    method: keras.Model, tape: tf.GradientTape, loss: tf.Tensor, part: Part = WHOLE
) -> None:
    """Takes one step of the method's optimizer down the gradient of a loss.

    Args:
        method: a compiled Keras model; for parts, with `gradient_sums`, the `Sums` of its trainable
            variables.
        tape: the `tf.GradientTape` that recorded the loss.
        loss: the mean over this replica's share of the batch, a float32 scalar.
        part: the part of the batch that the loss is of. The optimizer takes the step with the last
            one, down the mean of the gradients of all.
    """
    variables = method.trainable_variables
    _, count = replicas()
    # The optimizer sums the replicas' gradients. Under mixed_float16 it also scales the loss.
    scale = method.optimizer.scale_loss(ops.ones(()) / (count * part.count))
    gradients = tape.gradient(loss, variables, output_gradients=scale)
    if part.count > 1:
        gradients = method.gradient_sums.add(gradients, part)
    if not part.last:
        return
    if count > 1 and isinstance(method.optimizer, keras.optimizers.LossScaleOptimizer):
        gradients = _overflow_everywhere(gradients)
    method.optimizer.apply(gradients, variables)


def _overflow_everywhere(gradients):
    """Sets all replicas' gradients to NaN if those of one overflow, so that all skip the step.

    Keras looks at each replica's own gradients, before they are summed.
    """
    # A weight that the loss does not use has no gradient, which Keras warns of and passes over.
    present = [g for g in gradients if g is not None]
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in present])
    context = tf.distribute.get_replica_context()
    overflows = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(~finite, tf.float32))
    return [
        g if g is None else tf.where(overflows > 0, tf.cast(float("nan"), g.dtype), g)
        for g in gradients
    ]
