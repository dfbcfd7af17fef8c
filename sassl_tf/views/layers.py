"""Keras layers of the operations: each image has a draw of its own, fixed by a seed."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.errors import UserError
from sassl_tf.image_augmentation import ImageAugmentation
from sassl_tf.image_inputs import batch_size, images_of
from sassl_tf.seeding import uniform
from sassl_tf.typing import Array
from sassl_tf.value_range import from_unit_range, to_unit_range
from sassl_tf.views.blur import gaussian_blur
from sassl_tf.views.colour import JITTER_LAWS, color_jitter, grayscale, solarize
from sassl_tf.views.crops import CROP_SAMPLERS, crop_and_resize
from sassl_tf.views.draws import BLUR_KERNEL_DIVISOR, around_one, image_seeds

FLIP_MODES = ("horizontal", "vertical", "horizontal_and_vertical")


class _ViewLayer(ImageAugmentation):
    """An operation on some images of a batch.

    Draws the parameters named by `_ranges`, and applies `_operate` to the chosen images, which it
    gets as float32 in [0, 1].
    """

    def _ranges(self) -> dict[str, tuple[float, float]]:
        """Returns the range of each parameter that is uniform."""
        return {}

    def _operate(self, images: tf.Tensor, draws: dict[str, tf.Tensor]) -> tf.Tensor:
        raise NotImplementedError

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
        seeds = tf.unstack(tf.random.split(seed, len(ranges), alg="philox"))
        draws = {
            name: uniform(shape, own, *bounds)
            for own, (name, bounds) in zip(seeds, ranges.items(), strict=True)
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
        unit = to_unit_range(images, self.value_range)
        return from_unit_range(self._operate(unit, transformation), self.value_range, images.dtype)


@keras.saving.register_keras_serializable(package="sassl_tf")
class RandomColorJitter(_ViewLayer):
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
class RandomGrayscale(_ViewLayer):
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
class RandomGaussianBlur(_ViewLayer):
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


@keras.saving.register_keras_serializable(package="sassl_tf")
class RandomSolarization(_ViewLayer):
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


@keras.saving.register_keras_serializable(package="sassl_tf")
class RandomFlip(_ViewLayer):
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

    def call(
        self, inputs: Array | dict[str, Any], training: bool = True, seed: Array | None = None
    ) -> tf.Tensor | dict[str, Any]:
        _check_nothing_has_places(inputs, self)
        return super().call(inputs, training, seed)

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

    def _augment(
        self,
        images: tf.Tensor,
        transformation: dict[str, tf.Tensor],
        chosen: tf.Tensor | None = None,
    ) -> tf.Tensor:
        for name, axis in (("horizontal", 2), ("vertical", 1)):
            apply = transformation[name][:, None, None, None]
            images = tf.where(apply, tf.reverse(images, [axis]), images)
        return images if chosen is None else tf.gather(images, chosen)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "mode": self.mode}
        del config["value_range"]
        return config


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

    def call(
        self, inputs: Array | dict[str, Any], training: bool = True, seed: Array | None = None
    ) -> tf.Tensor | dict[str, Any]:
        _check_nothing_has_places(inputs, self)
        images = images_of(inputs)
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

        seeds = image_seeds(seed, count)
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


def _shorter_side(images: tf.Tensor) -> int | tf.Tensor:
    height, width = images.shape[1:3]
    if height is not None and width is not None:
        return min(height, width)
    return tf.reduce_min(tf.shape(images)[1:3])


def _check_nothing_has_places(inputs: Any, layer: keras.layers.Layer) -> None:
    """Raises a ValueError for inputs with boxes or masks, which would no longer fit the images."""
    if isinstance(inputs, dict):
        left_behind = sorted({"bounding_boxes", "segmentation_masks"} & inputs.keys())
        if left_behind:
            raise UserError(
                f"{type(layer).__name__} moves pixels, and would leave {left_behind} as they are. "
                "Take them out of the dict, or use a layer of Keras that moves them too."
            )
