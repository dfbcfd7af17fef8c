"""Keras models as functions without variables."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from sassl_tf.errors import UserError
from sassl_tf.stylizers.operations import on_tensorflow, tensor, variables_in
from sassl_tf.typing import Array


class FrozenModel:
    """A Keras model called with constants in place of its variables, as TensorFlow.

    Args:
        model: a functional model whose weights are final. It may be given inside a `tf.function`.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        if on_tensorflow():
            with tf.init_scope():
                self._arrays = [variable.numpy() for variable in model.variables]
                self._tensors = [tf.constant(array) for array in self._arrays]

    def __call__(self, inputs: Array | list[Array]) -> tf.Tensor:
        if not on_tensorflow():
            return run_as_tensorflow(self._model, inputs)
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


def run_as_tensorflow(model: keras.Model, inputs: Any) -> tf.Tensor:
    """Computes a functional model by TensorFlow's operations, whatever Keras's backend is.

    Args:
        model: of one output, in which each layer and operation is called once: our own layers, and
            those of Keras that stylizers have.
        inputs: an array or tensor, or a list of them.

    Raises:
        ValueError: the model has another layer or operation.
    """
    given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    values = {id(place): tensor(x) for place, x in zip(model.inputs, given, strict=True)}
    for operation in model.operations:  # in the order of the graph
        if isinstance(operation, keras.layers.InputLayer):
            continue
        places = operation.input
        if isinstance(places, (list, tuple)):
            x: Any = [values[id(place)] for place in places]
        else:
            x = values[id(places)]
        values[id(operation.output)] = _apply(operation, x)
    return values[id(model.outputs[0])]


def _apply(operation: Any, x: Any) -> tf.Tensor:
    if not isinstance(operation, keras.layers.Layer):
        return _function(type(operation).__name__, operation)(x)
    x = tf.nest.map_structure(lambda some: _cast(operation, some), x)
    if type(operation).__module__.startswith("sassl_tf."):
        with variables_in(operation.compute_dtype if operation.autocast else None):
            return operation.call(x)
    weights = [tf.cast(tensor(weight), x.dtype) for weight in operation.weights]
    kernel, bias = (*weights, None)[:2]
    if isinstance(operation, keras.layers.Dense):
        x = tf.matmul(x, kernel)
    elif isinstance(operation, keras.layers.DepthwiseConv2D):
        strides = (1, *operation.strides, 1)
        x = tf.nn.depthwise_conv2d(x, kernel, strides, operation.padding.upper())
    elif isinstance(operation, keras.layers.Conv2D):
        x = tf.nn.conv2d(x, kernel, operation.strides, operation.padding.upper())
    else:
        raise _unknown(type(operation).__name__)
    x = x if bias is None else x + bias
    name = operation.activation.__name__
    return x if name == "linear" else _function(name.capitalize(), operation)(x)


def _cast(layer: keras.layers.Layer, x: tf.Tensor) -> tf.Tensor:
    return tf.cast(x, layer.compute_dtype) if layer.autocast and x.dtype.is_floating else x


def _function(name: str, operation: Any) -> Callable[[Any], tf.Tensor]:
    """Returns what an operation of `keras.ops` does, by the name of its class."""

    def pooled(pool: Callable[..., tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
        return lambda x: pool(x, operation.pool_size, operation.strides, operation.padding.upper())

    functions: dict[str, Callable[[Any], tf.Tensor]] = {
        "Add": tf.add_n,
        "AveragePool": pooled(tf.nn.avg_pool2d),
        "Cast": lambda x: tf.cast(x, operation.dtype),
        "Concatenate": lambda xs: tf.concat(xs, operation.axis),
        "MaxPool": pooled(tf.nn.max_pool2d),
        "Mean": lambda x: tf.reduce_mean(x, operation.axis),
        "Relu": tf.nn.relu,
        "Relu6": tf.nn.relu6,
        "Sigmoid": tf.sigmoid,
    }
    if name not in functions:
        raise _unknown(name)
    return functions[name]


def _unknown(name: str) -> UserError:
    return UserError(
        f"The stylizer has a {name}, which runs on Keras's TensorFlow backend only: set "
        "KERAS_BACKEND=tensorflow, or take another stylizer."
    )
