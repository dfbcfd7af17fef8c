"""The base of layers that apply one operation to some images of a batch."""

from __future__ import annotations

import tensorflow as tf

from sassl_tf.image_augmentation import ImageAugmentation
from sassl_tf.seeding import uniform
from sassl_tf.typing import Array
from sassl_tf.value_range import from_unit_range, to_unit_range
from sassl_tf.views.draws import named_seed


class ViewOperation(ImageAugmentation):
    """An operation on some images of a batch.

    It draws the parameters named by `_ranges`. A subclass has `_operate`, which gets images as
    float32 in [0, 1], or `_apply`, which gets them as they are.
    """

    def _ranges(self) -> dict[str, tuple[float, float]]:
        """Returns the range of each parameter that is uniform."""
        return {}

    def _operate(self, images: tf.Tensor, draws: dict[str, tf.Tensor]) -> tf.Tensor:
        """Applies the operation to all images [N, H, W, 3], float32 in [0, 1]."""
        raise NotImplementedError

    def _apply(self, images: tf.Tensor, draws: dict[str, tf.Tensor]) -> tf.Tensor:
        """Applies the operation to all images [N, H, W, 3] in `value_range`."""
        unit = to_unit_range(images, self.value_range)
        return from_unit_range(self._operate(unit, draws), self.value_range, images.dtype)

    def get_random_transformation(
        self, shape: tuple[int | tf.Tensor, ...], seed: Array
    ) -> dict[str, tf.Tensor]:
        """Draws the parameters of the operation.

        Args:
            shape: (B,) for a batch; () for one image.
            seed: int32 [2].

        Returns:
            A dict of tensors of that shape: "apply" (bool), and the operation's own.
        """
        ranges = {"apply": (0.0, 1.0), **self._ranges()}
        # By the layer's kind, so that layers under one seed do not draw alike.
        own = named_seed(seed, type(self).__name__)
        seeds = tf.unstack(tf.random.split(own, len(ranges), alg="philox"))
        draws = {
            name: uniform(shape, one, *bounds)
            for one, (name, bounds) in zip(seeds, ranges.items(), strict=True)
        }
        return {**draws, "apply": draws["apply"] < self.probability}

    def _augment(
        self,
        images: tf.Tensor,
        transformation: dict[str, tf.Tensor],
        chosen: tf.Tensor | None = None,
    ) -> tf.Tensor:
        if chosen is not None:
            images = tf.gather(images, chosen)
            transformation = {name: tf.gather(x, chosen) for name, x in transformation.items()}
        return self._apply(images, transformation)
