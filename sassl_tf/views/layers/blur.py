"""Gaussian blur as a Keras layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.views.blur import gaussian_blur
from sassl_tf.views.draws import BLUR_KERNEL_DIVISOR
from sassl_tf.views.layers.operation import ViewOperation


@keras.saving.register_keras_serializable(package="sassl_tf")
class RandomGaussianBlur(ViewOperation):
    """Blurs some images, each with its own sigma. Beyond the border lies black, as in SimCLR.

    Args:
        probability: of changing an image, in [0, 1]; SimCLR's by default.
        kernel_size: odd number of taps. None: SimCLR's, a tenth of the image's shorter side.
        sigma: (lowest, highest) standard deviation, in pixels; one number fixes it.
        value_range: the lowest and the highest value of the images' pixels, in and out.
        static_shapes: True computes every image and then selects, as XLA needs it.
        seed: as for `RandomColorJitter`. The call has its arguments, returns and errors too.
    """

    def __init__(
        self,
        probability: float = 0.5,
        kernel_size: int | None = None,
        sigma: float | tuple[float, float] = (0.1, 2.0),
        value_range: tuple[float, float] = (0, 255),
        static_shapes: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, value_range, static_shapes, seed, **kwargs)
        self.kernel_size = arguments.odd(kernel_size, "kernel_size")
        self.sigma = arguments.positive_range(sigma, "sigma")

    def _ranges(self) -> dict[str, tuple[float, float]]:
        return {"sigma": self.sigma}

    def _operate(self, images: tf.Tensor, draws: dict[str, tf.Tensor]) -> tf.Tensor:
        kernel_size = self.kernel_size or _shorter_side(images) // BLUR_KERNEL_DIVISOR
        return gaussian_blur(images, draws["sigma"], kernel_size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel_size": self.kernel_size, "sigma": self.sigma}


def _shorter_side(images: tf.Tensor) -> int | tf.Tensor:
    height, width = images.shape[1:3]
    if height is not None and width is not None:
        return min(height, width)
    return tf.reduce_min(tf.shape(images)[1:3])
