"""Random crops, resized to one size, as a Keras layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.image_augmentation import ImageAugmentation
from sassl_tf.image_inputs import batch_size, images_of
from sassl_tf.typing import Array
from sassl_tf.value_range import from_unit_range, to_unit_range
from sassl_tf.views.crops import CROP_SAMPLERS, crop_and_resize
from sassl_tf.views.draws import image_seeds, named_seed
from sassl_tf.views.layers.places import check_nothing_has_places


@keras.saving.register_keras_serializable(package="sassl_tf")
class RandomResizedCrop(ImageAugmentation):
    """Cuts a random box out of each image and resizes it: bicubic, without antialiasing.

    Args:
        height: of the result, in pixels.
        width: of the result, in pixels.
        crop_area_factor: (lowest, highest) share of the image that the box covers, in (0, 1].
        aspect_ratio_factor: (lowest, highest) width of the box divided by its height.
        law: of the box: "torchvision" (uniform area and log-uniform ratio; a box that does not fit
            is drawn again), "tensorflow" (SimCLR's, which favours smaller boxes) or "byol" (a box
            that does not fit is cut to the image).
        value_range: the lowest and the highest value of the images' pixels, in and out; what the
            cubic overshoots is clipped to it.
        seed: int; fixes the draws of calls in a fixed order. None takes one from Python's
            `random`, which `keras.utils.set_random_seed` seeds.

    Call arguments:
        - inputs: images [H, W, 3] or [B, H, W, 3], uint8 or float, or a dict that has them under
          "images"; labels are passed through, boxes and masks are an error.
        - training: False takes the largest box in the centre that has the result's proportions.
        - seed: int32 [2]; makes the call stateless: the same seed gives the same result anywhere.

    Call returns:
        The same structure and dtype: [height, width, 3] or [B, height, width, 3].

    Raises:
        ValueError: arguments out of range, images of the wrong rank or channels, or boxes or masks
            beside the images.

    Example:

    ```python
    crop = sassl_tf.views.RandomResizedCrop(32, 32)
    dataset = dataset.map(crop, num_parallel_calls=tf.data.AUTOTUNE).batch(256)
    ```
    """

    def __init__(
        self,
        height: int,
        width: int,
        crop_area_factor: float | tuple[float, float] = (0.08, 1.0),
        aspect_ratio_factor: float | tuple[float, float] = (3 / 4, 4 / 3),
        law: str = "torchvision",
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(1.0, value_range, False, seed, **kwargs)
        self.height = arguments.pixels(height, "height")
        self.width = arguments.pixels(width, "width")
        self.crop_area_factor = arguments.positive_range(
            crop_area_factor, "crop_area_factor", highest=1
        )
        self.aspect_ratio_factor = arguments.positive_range(
            aspect_ratio_factor, "aspect_ratio_factor"
        )
        self.law = arguments.choice(law, "law", CROP_SAMPLERS)

    def _check_beside(self, inputs: dict[str, Any]) -> None:
        check_nothing_has_places(inputs, self)

    def call(
        self, inputs: Array | dict[str, Any], training: bool = True, seed: Array | None = None
    ) -> tf.Tensor | dict[str, Any]:
        images = images_of(inputs)
        self._check_range(images)
        self._warn_of_values(images)
        batched = images.shape.rank == 4
        batch = images if batched else images[None]
        shape = (batch_size(batch), *tf.unstack(tf.shape(batch)[1:]))
        if training:
            transformation = self.get_random_transformation(shape, self._call_seed(seed))
        else:
            transformation = {"box": tf.tile(self._centre(shape)[None], [shape[0], 1])}
        batch = self.transform_images(batch, transformation)
        images = batch if batched else batch[0]
        return {**inputs, "images": images} if isinstance(inputs, dict) else images

    def get_random_transformation(
        self, shape: tuple[int | tf.Tensor, ...], seed: Array
    ) -> dict[str, tf.Tensor]:
        """Draws the boxes.

        Args:
            shape: that of the images, (B, H, W, 3).
            seed: int32 [2].

        Returns:
            {"box": int32 [B, 4]}: top, left, height and width, in pixels.
        """
        count, *sides = shape
        law = CROP_SAMPLERS[self.law]

        def box(seed: tf.Tensor) -> tf.Tensor:
            drawn = law(tf.stack(sides), self.crop_area_factor, self.aspect_ratio_factor, seed)
            return tf.ensure_shape(tf.stack(drawn), [4])

        seeds = image_seeds(named_seed(seed, type(self).__name__), count)
        return {"box": tf.map_fn(box, seeds, fn_output_signature=tf.TensorSpec([4], tf.int32))}

    def _centre(self, shape: tuple[int | tf.Tensor, ...]) -> tf.Tensor:
        """Returns the largest box in the centre that has the result's proportions, int32 [4]."""
        sides = tf.cast(tf.stack(shape[1:3]), tf.float32)
        wanted = tf.constant([self.height, self.width], tf.float32)
        box = tf.round(wanted * tf.reduce_min(sides / wanted))
        box = tf.clip_by_value(box, 1.0, sides)
        return tf.cast(tf.concat([(sides - box) // 2, box], axis=0), tf.int32)

    def transform_images(self, images: Array, transformation: dict[str, tf.Tensor]) -> tf.Tensor:
        """Cuts the boxes out of images [B, H, W, 3] in `value_range`, and resizes them."""
        images = tf.convert_to_tensor(images)
        dtype, size = images.dtype, (self.height, self.width)
        as_they_are = dtype == tf.uint8 and self.value_range == (0, 255)
        if not as_they_are:
            images = to_unit_range(images, self.value_range)
        crops = tf.map_fn(
            lambda args: crop_and_resize(args[0], args[1], size),
            (images, transformation["box"]),
            fn_output_signature=tf.TensorSpec([*size, 3], images.dtype),
        )
        return crops if as_they_are else from_unit_range(crops, self.value_range, dtype)

    def compute_output_shape(self, input_shape: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(input_shape, dict):
            return {**input_shape, "images": self.compute_output_shape(input_shape["images"])}
        return (*input_shape[:-3], self.height, self.width, 3)

    def compute_output_spec(
        self, inputs: Any, training: bool = True, seed: Array | None = None
    ) -> Any:
        images = images_of(inputs)
        spec = keras.KerasTensor(self.compute_output_shape(images.shape), images.dtype)
        return {**inputs, "images": spec} if isinstance(inputs, dict) else spec

    def get_config(self) -> dict[str, Any]:
        own = ("height", "width", "crop_area_factor", "aspect_ratio_factor", "law")
        config = {**super().get_config(), **{name: getattr(self, name) for name in own}}
        for fixed in ("probability", "static_shapes"):
            del config[fixed]
        return config
