"""Keras models as functions without variables."""

import keras
import tensorflow as tf

from sassl_tf.typing import Array


class FrozenModel:
    """A Keras model called with constants in place of its variables.

    Args:
        model: a model whose weights are final. It may be given inside a `tf.function`.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        with tf.init_scope():
            self._arrays = [variable.numpy() for variable in model.variables]
            self._tensors = [tf.constant(array) for array in self._arrays]

    def __call__(self, inputs: Array | list[Array]) -> tf.Tensor:
        # In a graph the arrays become its own constants, which the graph optimizer can fold.
        values = self._tensors if tf.executing_eagerly() else self._arrays
        by_variable = dict(zip(map(id, self._model.variables), values, strict=True))
        outputs, _ = self._model.stateless_call(
            [by_variable[id(v)] for v in self._model.trainable_variables],
            [by_variable[id(v)] for v in self._model.non_trainable_variables],
            inputs,
            training=False,
        )
        return outputs
