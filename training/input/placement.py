"""The place where crops become views, SASSL included: the input pipeline or the train step.

This is the one place that knows what `config.augment_on` means.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from ml_collections import ConfigDict


class Host:
    """Views are finished in the input pipeline, image by image, as suits processors."""

    static_shapes = False

    def stylizer_precision(self, config: ConfigDict) -> str | None:
        """Returns the precision of a stylizer whose config has none: None, the processor's."""
        return None

    def in_pipeline(
        self, batches: tf.data.Dataset, finish: Callable[[Any], Any]
    ) -> tf.data.Dataset:
        """Returns the dataset that leaves the pipeline."""
        return batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def in_step(self, finish: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Returns the function that the train step passes its batch through."""
        return lambda batch: batch

    def describe(self, where: str) -> str:
        """Returns a line for the user; `where` says on which machines the pipeline runs."""
        return f"views made {where}"


class Device:
    """Crops leave the pipeline, and the train step finishes the views with static shapes."""

    static_shapes = True

    def stylizer_precision(self, config: ConfigDict) -> str | None:
        """Returns the precision of a stylizer whose config has none: that of the training."""
        return "bfloat16" if config.precision == "mixed_bfloat16" else "float32"

    def in_pipeline(
        self, batches: tf.data.Dataset, finish: Callable[[Any], Any]
    ) -> tf.data.Dataset:
        """Returns the dataset that leaves the pipeline."""
        return batches

    def in_step(self, finish: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Returns the function that the train step passes its batch through."""
        return finish

    def describe(self, where: str) -> str:
        """Returns a line for the user; `where` says on which machines the pipeline runs."""
        return f"read and cropped {where}, augmented within the train step"


PLACEMENTS: dict[str, Host | Device] = {"host": Host(), "device": Device()}


def placement(config: ConfigDict) -> Host | Device:
    """Returns the `Host` or the `Device` of a pretraining config."""
    return PLACEMENTS[config.augment_on]
