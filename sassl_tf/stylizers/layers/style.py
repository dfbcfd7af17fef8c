"""Layers that take a style code beside the features."""

from typing import Any

import keras
import tensorflow as tf

from sassl_tf.stylizers.layers.shapes import CodeShape, ImageShape
from sassl_tf.stylizers.operations import ops


@keras.saving.register_keras_serializable(package="sassl_tf")
class StyleNorm(keras.layers.Layer):
    """Conditional instance normalisation: γ(z)·(x - μ) / √(σ² + ε) + β(z), with γ, β linear in z.

    Called on `[x, z]`: float [B, H, W, C] and [B or 1, code_size]; returns [B, H, W, C]. μ and σ²
    are per image and channel. Source: `image_stylization/ops.py`, `conditional_style_norm`.

    Args:
        pixels: how many pixels lie side by side in the C channels. They share μ, σ², γ and β by
            colour. It is 16 for images of 4×4 patches, which is faster than taking them apart.
    """

    EPSILON = 1e-5

    def __init__(self, pixels: int = 1, **kwargs: Any) -> None:
        # x comes in the dtype of the network; z, γ and β are float32 whatever that is.
        super().__init__(**{**kwargs, "autocast": False})
        self.pixels = pixels

    def build(self, input_shapes: tuple[ImageShape, CodeShape]) -> None:
        (*_, channels), (*_, code_size) = input_shapes
        channels //= self.pixels
        self.gamma_kernel = self._weight("gamma_kernel", (code_size, channels), "zeros")
        self.gamma_bias = self._weight("gamma_bias", (channels,), "ones")
        self.beta_kernel = self._weight("beta_kernel", (code_size, channels), "zeros")
        self.beta_bias = self._weight("beta_bias", (channels,), "zeros")

    def _weight(self, name: str, shape: tuple[int, ...], initializer: str) -> keras.Variable:
        return self.add_weight(shape, initializer, name=name, autocast=False)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        x, code = inputs
        gamma = self._per_pixel(ops.matmul(code, self.gamma_kernel) + self.gamma_bias)
        beta = self._per_pixel(ops.matmul(code, self.beta_kernel) + self.beta_bias)
        # Not x·scale + (β - μ·scale): where γ and β are constants, the graph optimizer of
        # TensorFlow 2.21 can make it oneDNN's instance normalisation, with the first γ for all.
        centred = x - self._mean(x)
        variance = ops.cast(self._mean(ops.square(centred)), "float32")
        scale = gamma * ops.rsqrt(variance + self.EPSILON)
        return centred * ops.cast(scale, x.dtype) + ops.cast(beta, x.dtype)

    def _mean(self, x: tf.Tensor) -> tf.Tensor:
        # TensorFlow's own sums bfloat16 in float32; Keras's makes a float32 copy of x first.
        mean = tf.reduce_mean(x, axis=(1, 2))
        if self.pixels > 1:
            by_pixel = ops.reshape(mean, (-1, self.pixels, x.shape[-1] // self.pixels))
            mean = ops.mean(by_pixel, axis=1)
        return self._per_pixel(mean)

    def _per_pixel(self, by_colour: tf.Tensor) -> tf.Tensor:
        return ops.tile(by_colour, (1, self.pixels))[:, None, None, :]

    def compute_output_shape(self, input_shapes: tuple[ImageShape, CodeShape]) -> ImageShape:
        return input_shapes[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pixels": self.pixels}


@keras.saving.register_keras_serializable(package="sassl_tf")
class StyleMatrix(keras.layers.Layer):
    """Multiplies the features of every position by a matrix of their image, M(z), linear in z.

    Called on `[x, z]`: float [B, h, w, C] and [B or 1, code_size]; returns [B, h, w, filters].

    Args:
        filters: channels of the output.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "autocast": False})  # M is float32 up to the product
        self.filters = filters

    def build(self, input_shapes: tuple[ImageShape, CodeShape]) -> None:
        (*_, channels), (*_, code_size) = input_shapes
        shape = (code_size, channels * self.filters)
        self.kernel = self.add_weight(shape, "zeros", name="kernel", autocast=False)
        self.bias = self.add_weight((channels, self.filters), name="bias", autocast=False)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        x, code = inputs
        matrix = ops.reshape(ops.matmul(code, self.kernel), (-1, *self.bias.shape)) + self.bias
        batch, height, width, channels = ops.shape(x)
        pixels = ops.reshape(ops.cast(x, self.compute_dtype), (batch, height * width, channels))
        product = ops.matmul(pixels, ops.cast(matrix, self.compute_dtype))
        return ops.reshape(product, (-1, height, width, self.filters))

    def compute_output_shape(self, input_shapes: tuple[ImageShape, CodeShape]) -> ImageShape:
        return (*input_shapes[0][:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}
