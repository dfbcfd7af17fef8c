"""The part of a layer that takes styles from its batch which does not depend on the method."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.image_augmentation import ImageAugmentation
from sassl_tf.image_inputs import batch_size
from sassl_tf.in_batch import another_row, check_several
from sassl_tf.seeding import style_seeds, uniform
from sassl_tf.typing import Array, Range
from sassl_tf.value_range import from_unit_range, to_unit_range


class InBatchStyle(ImageAugmentation):
    """Gives images the style of another image of their batch, without a network.

    A subclass has `_styled`, its method on pairs of images.

    Args:
        probability: of augmenting an image, in [0, 1].
        blending_factor: (α_min, α_max) in [0, 1]; one number fixes α.
        value_range: the lowest and the highest value of the images' pixels, in and out.
        static_shapes: True computes every image and then selects, so that all shapes are static.
        seed: int; fixes the draws of calls in a fixed order.
    """

    def __init__(
        self,
        probability: float,
        blending_factor: float | tuple[float, float],
        value_range: tuple[float, float],
        static_shapes: bool,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, value_range, static_shapes, seed, **kwargs)
        self.blending_factor = arguments.factor_range(blending_factor, "blending_factor")

    def _changes_nothing(self) -> bool:
        return super()._changes_nothing() or self.blending_factor[1] == 0

    def get_random_transformation(
        self,
        shape: tuple[int | tf.Tensor, ...],
        seed: Array,
        blending_factor: Range | None = None,
    ) -> dict[str, tf.Tensor]:
        """Draws what the method needs, apart from applying it.

        Args:
            shape: (B,) for a batch; () for one image whose draws are batched later.
            seed: int32 [2].
            blending_factor: (α_min, α_max) of these draws, numbers or scalar tensors. None: the
                layer's own.

        Returns:
            A dict of tensors of that shape: "apply" (bool), "alpha" (float32) and "style" (float32
            in [0, 1): which image of the batch). They are those of `SASSLAugmentation`.
        """
        seeds = style_seeds(seed)
        return {
            "apply": uniform(shape, seeds["apply"]) < self.probability,
            "style": uniform(shape, seeds["style"]),
            "alpha": uniform(shape, seeds["alpha"], *(blending_factor or self.blending_factor)),
        }

    def _check_batch(self, images: tf.Tensor) -> None:
        check_several(
            batch_size(images),
            f"{type(self).__name__} takes styles from the other images of the batch, so it needs "
            "at least two images a call: batch the dataset before the map, with "
            "drop_remainder=True if one image may be left over.",
        )

    def _style_rows(self, draws: tf.Tensor) -> tf.Tensor:
        """Returns int32 [B], the row of each image's style, for "style" draws [B]."""
        return another_row(draws)

    def _augment(
        self,
        images: tf.Tensor,
        transformation: dict[str, tf.Tensor],
        chosen: tf.Tensor | None = None,
    ) -> tf.Tensor:
        alpha, rows = transformation["alpha"], self._style_rows(transformation["style"])
        content = images
        if chosen is not None:
            alpha, rows, content = (tf.gather(x, chosen) for x in (alpha, rows, images))
        content = to_unit_range(content, self.value_range)
        style = to_unit_range(tf.gather(images, rows), self.value_range)
        # An image with NaN pixels is no style: it must not reach another one of its batch.
        usable = tf.reduce_all(tf.math.is_finite(style), axis=[1, 2, 3], keepdims=True)
        style = tf.where(usable, style, content)
        styled = tf.clip_by_value(self._styled(content, style, alpha), 0.0, 1.0)
        return from_unit_range(styled, self.value_range, images.dtype)

    def _styled(self, content: tf.Tensor, style: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
        """Returns the content images in the style of the style images; values may leave [0, 1].

        Args:
            content: float32 [N, H, W, 3] in [0, 1].
            style: of the same shape and range.
            alpha: float32 [N].
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "blending_factor": self.blending_factor}
