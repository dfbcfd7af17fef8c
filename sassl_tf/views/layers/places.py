"""The check of layers that move pixels."""

from __future__ import annotations

from typing import Any

import keras

from sassl_tf.errors import UserError


def check_nothing_has_places(inputs: dict[str, Any], layer: keras.layers.Layer) -> None:
    """Raises a ValueError for inputs with boxes or masks, which would no longer fit the images."""
    left_behind = sorted({"bounding_boxes", "segmentation_masks"} & inputs.keys())
    if left_behind:
        raise UserError(
            f"{type(layer).__name__} moves pixels, and would leave {left_behind} as they are. "
            "Take them out of the dict, or use a layer of Keras that moves them too."
        )
