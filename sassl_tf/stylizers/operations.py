"""The operations that the layers of stylization networks compute with.

`ops` is `keras.ops` on Keras's TensorFlow backend. On another backend the networks run all the same
as TensorFlow, inside `tf.data`; then it has the same functions, as far as the layers use them, made
of TensorFlow's operations.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def on_tensorflow() -> bool:
    """Returns whether Keras computes with TensorFlow."""
    return keras.backend.backend() == "tensorflow"


@contextlib.contextmanager
def without_random_weights() -> Iterator[None]:
    """Lets networks built inside the block start at zeros, on other backends than TensorFlow.

    Their weights are replaced at once, and JAX would compile a program for each random one.
    """
    if on_tensorflow():
        yield
        return

    def zeros(_: Any, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        return np.zeros(shape, dtype or "float32")

    random = keras.initializers.VarianceScaling.__call__
    keras.initializers.VarianceScaling.__call__ = zeros
    try:
        yield
    finally:
        keras.initializers.VarianceScaling.__call__ = random


_dtype: contextvars.ContextVar[str | None] = contextvars.ContextVar("dtype", default=None)


@contextlib.contextmanager
def variables_in(dtype: str | None) -> Iterator[None]:
    """Lets `tensor` cast variables inside the block, as Keras does within a layer's call.

    Args:
        dtype: the variables' dtype; None for their own.
    """
    before = _dtype.set(dtype)
    try:
        yield
    finally:
        _dtype.reset(before)


def tensor(value: Any) -> tf.Tensor:
    """Returns a tensor of TensorFlow; the variables of another backend become constants."""
    if not isinstance(value, keras.Variable):
        return tf.convert_to_tensor(value)
    constant = tf.constant(keras.ops.convert_to_numpy(value.value))
    dtype = _dtype.get()
    return tf.cast(constant, dtype) if dtype else constant


class TensorFlowOps:
    """Functions of the names and meanings of `keras.ops`, images with their channels last."""

    @staticmethod
    def shape(x: Any) -> tuple[Any, ...]:
        dynamic = tf.shape(tensor(x))
        return tuple(
            dynamic[axis] if side is None else side for axis, side in enumerate(tensor(x).shape)
        )

    @staticmethod
    def reshape(x: Any, shape: Sequence[Any]) -> tf.Tensor:
        return tf.reshape(tensor(x), shape)

    @staticmethod
    def transpose(x: Any, axes: Sequence[int]) -> tf.Tensor:
        return tf.transpose(tensor(x), axes)

    @staticmethod
    def moveaxis(x: Any, source: Any, destination: Any) -> tf.Tensor:
        x = tensor(x)
        axes = np.moveaxis(np.empty(range(2, 2 + x.shape.rank)), source, destination).shape
        return tf.transpose(x, [size - 2 for size in axes])  # each axis has a size of its own

    @staticmethod
    def concatenate(xs: Sequence[Any], axis: int = 0) -> tf.Tensor:
        return tf.concat([tensor(x) for x in xs], axis)

    @staticmethod
    def flip(x: Any, axis: Any) -> tf.Tensor:
        return tf.reverse(tensor(x), [axis] if isinstance(axis, int) else axis)

    @staticmethod
    def tile(x: Any, repeats: Sequence[int]) -> tf.Tensor:
        return tf.tile(tensor(x), repeats)

    @staticmethod
    def pad(x: Any, width: Sequence[tuple[int, int]]) -> tf.Tensor:
        return tf.pad(tensor(x), width)

    @staticmethod
    def arange(start: Any, stop: Any, dtype: str) -> tf.Tensor:
        return tf.range(start, stop, dtype=dtype)

    @staticmethod
    def clip(x: Any, low: Any, high: Any) -> tf.Tensor:
        return tf.clip_by_value(tensor(x), low, high)

    @staticmethod
    def cast(x: Any, dtype: str) -> tf.Tensor:
        return tf.cast(tensor(x), dtype)

    @staticmethod
    def mean(x: Any, axis: int) -> tf.Tensor:
        return tf.reduce_mean(tensor(x), axis)

    abs = staticmethod(tf.abs)
    square = staticmethod(tf.square)
    rsqrt = staticmethod(tf.math.rsqrt)
    relu = staticmethod(tf.nn.relu)

    @staticmethod
    def matmul(x: Any, y: Any) -> tf.Tensor:
        return tf.matmul(tensor(x), tensor(y))

    @staticmethod
    def conv(x: Any, kernel: Any, strides: int, padding: str, data_format: str) -> tf.Tensor:
        return tf.nn.conv2d(x, tf.cast(tensor(kernel), x.dtype), strides, padding.upper())

    @staticmethod
    def conv_transpose(
        x: Any, kernel: Any, strides: int, padding: str, data_format: str
    ) -> tf.Tensor:
        kernel = tf.cast(tensor(kernel), x.dtype)
        batch, height, width, _ = TensorFlowOps.shape(x)
        sides = [(n - 1) * strides + k for n, k in zip((height, width), kernel.shape, strict=False)]
        shape = tf.stack([batch, *sides, kernel.shape[2]])
        return tf.nn.conv2d_transpose(x, kernel, shape, strides, padding.upper())


ops: Any = keras.ops if on_tensorflow() else TensorFlowOps
