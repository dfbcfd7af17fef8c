"""`ColorStatistics`: the mean and the standard deviation of another image's colours."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.style_augmentations.in_batch_style import InBatchStyle
from sassl_tf.typing import Array

COLOR_SPACES = ("rgb", "lab")

# Added to variances, so that noise in a flat image does not grow without bound [AdaIN's code].
_EPSILON = 1e-5
# Reinhard et al. 2001: RGB to the cones' responses (eq. 4), their logarithms to lαβ (eq. 6). Pixels
# are rows here.
_TO_CONES = np.transpose(
    [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]
)
_TO_LAB = np.transpose(np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]]))
_DARKEST = 1 / 255  # whose logarithm stands for that of everything darker


@keras.saving.register_keras_serializable(package="sassl_tf")
class ColorStatistics(InBatchStyle):
    """Gives an image the mean and the standard deviation of another image's channels.

    For an image i_c that is chosen with probability p, and another image i_s of its batch, channel
    by channel, with means μ and standard deviations σ over the pixels:

        α    ~ U(α_min, α_max)
        μ    = (1 - α) μ_c + α μ_s,  σ = (1 - α) σ_c + α σ_s
        i_cs = σ (i_c - μ_c) / σ_c + μ

    and clipped. In RGB it is AdaIN on pixels instead of features (Huang & Belongie 2017, arXiv
    1703.06868), and the same as mixing pixels: (1 - α) i_c + α AdaIN(i_c, i_s). So there is no β.
    In lαβ it is the colour transfer of Reinhard et al. 2001.

    Args:
        probability: p, of augmenting an image.
        blending_factor: (α_min, α_max) in [0, 1]; one number fixes α.
        color_space: the space of the channels: "rgb", or "lab" for Reinhard's lαβ, in which the
            channels of natural images are hardly correlated.
        value_range: the lowest and the highest value of the images' pixels, in and out.
        static_shapes: True computes every image and then selects, instead of only the selected
            ones, so that all shapes are static. XLA (`jit_compile=True`) needs this; under a TPU
            strategy it is always so.
        seed: int; fixes the draws of calls in a fixed order. None takes one from Python's
            `random`, which `keras.utils.set_random_seed` seeds.

    Call arguments:
        - inputs: images [B, H, W, 3] with B from 2 on, uint8 or float (any other integer too), or
          a dict that has them under "images"; what else is in it is passed through.
        - training: False returns the input unchanged.
        - seed: int32 [2]; makes the call stateless: the same seed gives the same result anywhere.

    Call returns:
        The same structure, shapes and dtypes.

    Raises:
        ValueError: arguments out of range, images of the wrong rank or channels, or less than two
            images.

    Example:

    ```python
    augment = sassl_tf.ColorStatistics()
    dataset = dataset.batch(256).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    ```
    """

    def __init__(
        self,
        probability: float = 0.8,
        blending_factor: float | tuple[float, float] = (0.0, 1.0),
        color_space: str = "rgb",
        value_range: tuple[float, float] = (0, 255),
        static_shapes: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, blending_factor, value_range, static_shapes, seed, **kwargs)
        self.color_space = arguments.choice(color_space, "color_space", COLOR_SPACES)

    def _styled(self, content: tf.Tensor, style: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
        if self.color_space == "rgb":
            return match_statistics(content, style, alpha)
        return lab_to_rgb(match_statistics(rgb_to_lab(content), rgb_to_lab(style), alpha))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "color_space": self.color_space}


def match_statistics(content: Array, style: Array, alpha: Array) -> tf.Tensor:
    """Brings the mean and the standard deviation of each channel to the style's, by a share.

    Args:
        content: float32 [N, H, W, C].
        style: of the same shape.
        alpha: float32 [N]; 0 keeps the content, 1 takes the style's statistics.

    Returns:
        float32 [N, H, W, C].
    """
    alpha = alpha[:, None, None, None]
    mean_c, deviation_c = _statistics(content)
    mean_s, deviation_s = _statistics(style)
    gain = 1 + alpha * (deviation_s / deviation_c - 1)
    return gain * (content - mean_c) + mean_c + alpha * (mean_s - mean_c)


def rgb_to_lab(images: Array) -> tf.Tensor:
    """Converts images from RGB, float32 in [0, 1], to Reinhard's lαβ with decadic logarithms."""
    cones = tf.maximum(_times(images, _TO_CONES), _DARKEST)
    return _times(tf.math.log(cones), _TO_LAB / np.log(10))


def lab_to_rgb(images: Array) -> tf.Tensor:
    """Converts images from Reinhard's lαβ to RGB. Values may leave [0, 1]."""
    cones = tf.exp(_times(images, np.linalg.inv(_TO_LAB) * np.log(10)))
    return _times(cones, np.linalg.inv(_TO_CONES))


def _statistics(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    mean, variance = tf.nn.moments(images, axes=[1, 2], keepdims=True)
    return mean, tf.sqrt(variance + _EPSILON)


def _times(images: tf.Tensor, matrix: np.ndarray) -> tf.Tensor:
    """Returns the product of every pixel and a 3×3 matrix."""
    return tf.einsum("nhwc,cd->nhwd", images, tf.constant(matrix, tf.float32))
