"""Mirroring as a Keras layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.typing import Array
from sassl_tf.views.layers.operation import ViewOperation
from sassl_tf.views.layers.places import check_nothing_has_places

FLIP_MODES = ("horizontal", "vertical", "horizontal_and_vertical")


@keras.saving.register_keras_serializable(package="sassl_tf")
class RandomFlip(ViewOperation):
    """Mirrors some images; values of any range stay as they are.

    Args:
        mode: "horizontal" (left and right), "vertical" (top and bottom), or
            "horizontal_and_vertical", with a draw for each of the two.
        probability: of each flip, in [0, 1].
        static_shapes: True computes every image and then selects, as XLA needs it.
        seed: as for `RandomColorJitter`. The call has its arguments, returns and errors too. A
            dict with boxes or masks is an error, as they would not be mirrored.
    """

    def __init__(
        self,
        mode: str = "horizontal",
        probability: float = 0.5,
        static_shapes: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, (0, 255), static_shapes, seed, **kwargs)
        self.mode = arguments.choice(mode, "mode", FLIP_MODES)

    def _check_beside(self, inputs: dict[str, Any]) -> None:
        check_nothing_has_places(inputs, self)

    def _warn_of_values(self, images: tf.Tensor) -> None:
        """Warns of nothing: values of any range will do."""

    def _ranges(self) -> dict[str, tuple[float, float]]:
        return {"horizontal": (0.0, 1.0), "vertical": (0.0, 1.0)}

    def get_random_transformation(
        self, shape: tuple[int | tf.Tensor, ...], seed: Array
    ) -> dict[str, tf.Tensor]:
        """Draws "horizontal" and "vertical", bool, and "apply", which is either of them.

        The arguments are those of the other layers: (B,) or (), and int32 [2].
        """
        draws = super().get_random_transformation(shape, seed)
        flips = {
            name: draws[name] < (self.probability if name in self.mode else 0.0)
            for name in ("horizontal", "vertical")
        }
        return {**flips, "apply": flips["horizontal"] | flips["vertical"]}

    def _apply(self, images: tf.Tensor, draws: dict[str, tf.Tensor]) -> tf.Tensor:
        for name, axis in (("horizontal", 2), ("vertical", 1)):
            mirrored = tf.reverse(images, [axis])
            images = tf.where(draws[name][:, None, None, None], mirrored, images)
        return images

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "mode": self.mode}
        del config["value_range"]
        return config
