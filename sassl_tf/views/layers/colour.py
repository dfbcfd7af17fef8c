"""Colour operations as Keras layers: jitter, grayscale, solarization."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.typing import Array
from sassl_tf.views.colour import JITTER_LAWS, color_jitter, grayscale, solarize
from sassl_tf.views.draws import around_one
from sassl_tf.views.layers.operation import ViewOperation


@keras.saving.register_keras_serializable(package="sassl_tf")
class RandomColorJitter(ViewOperation):
    """Changes brightness, contrast, saturation and hue, in a random order, of each image apart.

    The defaults are SimCLR's. Every strength s draws a factor from U(max(1 - s, 0), 1 + s); a hue
    strength h draws a shift from U(-h, h), in turns of the colour wheel. Values are clipped to
    `value_range` after each of the four.

    Args:
        value_range: the lowest and the highest value of the images' pixels, in and out.
        brightness_factor: strength, a number of at least 0.
        contrast_factor: strength, a number of at least 0.
        saturation_factor: strength, a number of at least 0.
        hue_factor: strength, in [0, 0.5].
        probability: of changing an image, in [0, 1].
        law: "simclr" (tf.image's operations, brightness as a product), "byol" (brightness as a
            sum) or "torchvision" (contrast and saturation from the luma).
        static_shapes: True computes every image and then selects, as XLA needs it.
        seed: int; fixes the draws of calls in a fixed order. None takes one from Python's
            `random`, which `keras.utils.set_random_seed` seeds.

    Call arguments:
        - inputs: images [H, W, 3] or [B, H, W, 3], uint8 or float, or a dict that has them under
          "images"; what else is in it is passed through.
        - training: False returns the input unchanged.
        - seed: int32 [2]; makes the call stateless: the same seed gives the same result anywhere.

    Call returns:
        The same structure, shapes and dtypes.

    Raises:
        ValueError: arguments out of range, or images of the wrong rank or channels.

    Example:

    ```python
    jitter = sassl_tf.views.RandomColorJitter()
    dataset = dataset.batch(256).map(jitter, num_parallel_calls=tf.data.AUTOTUNE)
    ```
    """

    def __init__(
        self,
        value_range: tuple[float, float] = (0, 255),
        brightness_factor: float = 0.8,
        contrast_factor: float = 0.8,
        saturation_factor: float = 0.8,
        hue_factor: float = 0.2,
        probability: float = 0.8,
        law: str = "simclr",
        static_shapes: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, value_range, static_shapes, seed, **kwargs)
        self.brightness_factor = arguments.strength(brightness_factor, "brightness_factor")
        self.contrast_factor = arguments.strength(contrast_factor, "contrast_factor")
        self.saturation_factor = arguments.strength(saturation_factor, "saturation_factor")
        self.hue_factor = arguments.strength(hue_factor, "hue_factor", highest=0.5)
        self.law = arguments.choice(law, "law", JITTER_LAWS)

    def _ranges(self) -> dict[str, tuple[float, float]]:
        return {
            "brightness": around_one(self.brightness_factor),
            "contrast": around_one(self.contrast_factor),
            "saturation": around_one(self.saturation_factor),
            "hue": (-self.hue_factor, self.hue_factor),
            **{f"place_{number}": (0.0, 1.0) for number in range(4)},
        }

    def get_random_transformation(
        self, shape: tuple[int | tf.Tensor, ...], seed: Array
    ) -> dict[str, tf.Tensor]:
        """Draws "apply", "brightness", "contrast", "saturation", "hue" and "order", int32 [..., 4].

        The arguments are those of the other layers: (B,) or (), and int32 [2].
        """
        draws = super().get_random_transformation(shape, seed)
        places = tf.stack([draws.pop(f"place_{number}") for number in range(4)], axis=-1)
        return {**draws, "order": tf.argsort(places)}

    def _operate(self, images: tf.Tensor, draws: dict[str, tf.Tensor]) -> tf.Tensor:
        order, hue = draws["order"], draws["hue"]
        factors = draws["brightness"], draws["contrast"], draws["saturation"]
        return color_jitter(images, order, *factors, hue, self.law)

    def get_config(self) -> dict[str, Any]:
        own = ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor", "law")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


@keras.saving.register_keras_serializable(package="sassl_tf")
class RandomGrayscale(ViewOperation):
    """Replaces the colours of some images by their luma, in all three channels.

    Args:
        probability: of changing an image, in [0, 1]; SimCLR's by default.
        value_range: the lowest and the highest value of the images' pixels, in and out.
        static_shapes: True computes every image and then selects, as XLA needs it.
        seed: as for `RandomColorJitter`. The call has its arguments, returns and errors too.
    """

    def __init__(
        self,
        probability: float = 0.2,
        value_range: tuple[float, float] = (0, 255),
        static_shapes: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, value_range, static_shapes, seed, **kwargs)

    def _operate(self, images: tf.Tensor, draws: dict[str, tf.Tensor]) -> tf.Tensor:
        return grayscale(images)


@keras.saving.register_keras_serializable(package="sassl_tf")
class RandomSolarization(ViewOperation):
    """Inverts the values of some images that are at or above a threshold.

    Args:
        probability: of changing an image, in [0, 1]; by default that of BYOL's right view.
        threshold_factor: the threshold, as a share of `value_range`, in [0, 1].
        value_range: the lowest and the highest value of the images' pixels, in and out.
        static_shapes: True computes every image and then selects, as XLA needs it.
        seed: as for `RandomColorJitter`. The call has its arguments, returns and errors too.
    """

    def __init__(
        self,
        probability: float = 0.2,
        threshold_factor: float = 0.5,
        value_range: tuple[float, float] = (0, 255),
        static_shapes: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, value_range, static_shapes, seed, **kwargs)
        self.threshold_factor = arguments.fraction(threshold_factor, "threshold_factor")

    def _operate(self, images: tf.Tensor, draws: dict[str, tf.Tensor]) -> tf.Tensor:
        return solarize(images, self.threshold_factor)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold_factor": self.threshold_factor}
