"""Gradient accumulation: a step takes its batch in parts, and sums up their gradients."""

import dataclasses
from collections.abc import Sequence

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Part:
    """The place of a part among those of a step's batch.

    Attributes:
        first: whether no part of this step came before.
        last: whether the optimizer takes the step with this part.
        count: the number of parts of a step.
    """

    first: bool
    last: bool
    count: int


WHOLE = Part(first=True, last=True, count=1)


def parts_of(count: int) -> list[Part]:
    """Returns the parts of a step, in their order.

    Args:
        count: their number.
    """
    return [Part(number == 0, number == count - 1, count) for number in range(count)]


class Sums:
    """Sums of tensors over the parts of a step.

    They are each replica's own, and not in checkpoints, which are written between steps.

    Args:
        variables: those that the tensors have the shapes of.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self._sums = [
            tf.Variable(
                tf.zeros(variable.shape),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
            for variable in variables
        ]

    def add(self, tensors: Sequence[tf.Tensor | None], part: Part) -> list[tf.Tensor | None]:
        """Adds the tensors of a part; returns the sums of this part and those before it.

        Args:
            tensors: one for each variable. None, as the gradient of a weight that the loss does not
                depend on, stays None.
            part: the part that they are of.
        """
        return [
            None if tensor is None else _add(kept, tensor, part)
            for kept, tensor in zip(self._sums, tensors, strict=True)
        ]


def _add(kept, tensor, part):
    if part.count == 1:
        return tensor
    # Not `tensor + kept`: TensorFlow would join it with the sums that the gradient consists of, in
    # one AddN, whose order depends on which of the buffers is free first. Runs would then differ.
    added = kept.assign if part.first else kept.assign_add
    added(tf.cast(tensor, tf.float32))
    # The identity lies on the replica's device. A variable's value has no device on a worker, and
    # then cannot be reduced over the workers.
    return tf.cast(tf.identity(kept.value()), tensor.dtype)
