"""The part of an augmentation layer that does not depend on what it does to an image."""

from __future__ import annotations

import random
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.errors import UserError
from sassl_tf.image_inputs import batch_size, images_of
from sassl_tf.typing import Array
from sassl_tf.value_range import value_range_problem


class ImageAugmentation(keras.layers.Layer):
    """Augments some images of a batch, each with draws of its own.

    A subclass has `get_random_transformation`, which draws, and `_augment`, which applies the
    draws. What moves no pixel leaves boxes, masks and labels valid: they are passed through.

    Args:
        probability: of augmenting an image, in [0, 1].
        value_range: the lowest and the highest value of the images' pixels, in and out.
        static_shapes: True computes every image and then selects, so that all shapes are static.
        seed: int; fixes the draws of calls in a fixed order. None takes one from Python's
            `random`, which `keras.utils.set_random_seed` seeds.
    """

    def __init__(
        self,
        probability: float,
        value_range: tuple[float, float],
        static_shapes: bool,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        # float32 under every precision policy. (Keras casts the variables of inner networks to an
        # outer layer's dtype even with autocast=False.)
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        self.probability = arguments.fraction(probability, "probability")
        self.value_range = arguments.value_range(value_range)
        self.static_shapes = arguments.truth(static_shapes, "static_shapes")
        self.seed = arguments.integer(seed, "seed")
        # Not Keras's SeedGenerator: its read and update race in a parallel `Dataset.map`, so that
        # draws repeat. This one advances atomically.
        draw_seed = random.randrange(2**31) if self.seed is None else self.seed
        self._generator = tf.random.Generator.from_seed(draw_seed)
        self._warned = False
        self.supports_jit = self.static_shapes
        self.built = True

    def _changes_nothing(self) -> bool:
        """Returns whether no draw can change an image. Calls then return their inputs."""
        return self.probability == 0

    def get_random_transformation(
        self, shape: tuple[int | tf.Tensor, ...], seed: Array
    ) -> dict[str, tf.Tensor]:
        """Draws what `_augment` needs, and "apply" (bool): which images it is for."""
        raise NotImplementedError

    def _augment(
        self,
        images: tf.Tensor,
        transformation: dict[str, tf.Tensor],
        chosen: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Augments every image of a batch, or the chosen ones.

        Args:
            images: [B, H, W, 3] in `value_range`.
            transformation: draws for all of them.
            chosen: int [N], the rows to augment. None: all.

        Returns:
            [N or B, H, W, 3] of the same dtype and range.
        """
        raise NotImplementedError

    def __call__(self, inputs: Array | dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if args and not isinstance(args[0], bool):
            raise UserError(
                f"{type(self).__name__} got a second positional input, as a map over (image, "
                "label) pairs passes it. Map `lambda image, label: (augment(image), label)`, or "
                'dicts with "images" and "labels".'
            )
        images_of(inputs)  # before Keras takes the inputs apart
        if isinstance(kwargs.get("seed"), list | tuple):
            # Keras refuses one that is a number and a tensor, such as a position in a dataset.
            kwargs = {**kwargs, "seed": _seed_tensor(kwargs["seed"])}
        if isinstance(inputs, dict):
            self._check_beside(inputs)
        if keras.backend.backend() != "tensorflow":
            inputs = self._as_in_pipeline(inputs)
            call = tf.autograph.experimental.do_not_convert(self.call)  # as Keras does it
            return call(inputs, *args, **kwargs)
        if not isinstance(inputs, dict):
            return super().__call__(inputs, *args, **kwargs)
        aside = _not_for_keras(inputs)
        others = {name: value for name, value in inputs.items() if name not in aside}
        return {**aside, **super().__call__(others, *args, **kwargs)}

    def call(
        self, inputs: Array | dict[str, Any], training: bool = True, seed: Array | None = None
    ) -> tf.Tensor | dict[str, Any]:
        images = images_of(inputs)
        self._check_range(images)
        if not training or self._changes_nothing():
            return inputs
        self._warn_of_values(images)
        batched = images.shape.rank == 4
        batch = images if batched else images[None]
        transformation = self.get_random_transformation((batch_size(batch),), self._call_seed(seed))
        batch = self.transform_images(batch, transformation)
        images = batch if batched else batch[0]
        return {**inputs, "images": images} if isinstance(inputs, dict) else images

    def _as_in_pipeline(self, inputs: Any) -> Any:
        """Returns inputs with their images as a tensor, on another backend than TensorFlow.

        Raises:
            ValueError: they are of a model of that backend; or as `images_of`.
        """
        images = inputs.get("images") if isinstance(inputs, dict) else inputs
        if not isinstance(images, (tf.Tensor, np.ndarray)):
            backend = keras.backend.backend()
            raise UserError(
                f"{type(self).__name__} got {type(images).__name__} on Keras's {backend} backend. "
                f"It computes with TensorFlow, so it cannot be part of a {backend} model: use it "
                "in the input pipeline, dataset.map(layer), whose batches the model then takes."
            )
        images_of(inputs)
        images = tf.convert_to_tensor(images)
        return {**inputs, "images": images} if isinstance(inputs, dict) else images

    def _check_range(self, images: Any) -> None:
        """Raises a ValueError for integer images in a range of floats."""
        low, high = self.value_range
        if tf.as_dtype(images.dtype).is_integer and high <= 1:
            raise UserError(
                f"The images are {tf.as_dtype(images.dtype).name}, and value_range is "
                f"({low:g}, {high:g}), so that every value above 1 would be clipped. Set "
                "value_range=(0, 255), or convert the images to float first."
            )

    def _check_beside(self, inputs: dict[str, Any]) -> None:
        """Raises a ValueError for a dict with entries that the layer would make wrong."""

    def _check_batch(self, images: tf.Tensor) -> None:
        """Raises a ValueError for images [B, H, W, 3] that the layer cannot augment."""

    def _call_seed(self, seed: Array | None) -> tf.Tensor:
        if seed is None:
            return self._generator.uniform_full_int((2,), tf.int32)
        tensor = _seed_tensor(seed)
        if not tensor.dtype.is_integer or not tensor.shape.is_compatible_with([2]):
            raise UserError(
                f"seed is {tensor.dtype.name} of shape {tensor.shape}; expected int32 of shape [2]."
            )
        return tf.cast(
            tensor, tf.int32
        )  # NumPy makes int64 ones, with which tf.random.split differs

    def transform_images(self, images: Array, transformation: dict[str, tf.Tensor]) -> tf.Tensor:
        """Applies draws to images [B, H, W, 3] in `value_range`; same shape and dtype out."""
        images = tf.convert_to_tensor(images)
        self._check_batch(images)
        if self._all_shapes_static():
            augmented = self._augment(images, transformation)
            return tf.where(transformation["apply"][:, None, None, None], augmented, images)
        chosen = tf.where(transformation["apply"])

        def augment_chosen() -> tf.Tensor:
            augmented = self._augment(images, transformation, chosen[:, 0])
            return tf.tensor_scatter_nd_update(images, chosen, augmented)

        # Not every operation takes an empty batch, and an unbatched image is often not chosen.
        output = tf.cond(tf.size(chosen) > 0, augment_chosen, lambda: images)
        output.set_shape(images.shape)
        return output

    def _all_shapes_static(self) -> bool:
        """Returns whether every image is computed, so that all shapes are static."""
        return self.static_shapes or _on_tpu()

    def _warn_of_values(self, images: tf.Tensor) -> None:
        """Warns once, in eager calls, of values that cannot be meant."""
        if self._warned or not tf.executing_eagerly() or not tf.size(images):
            return
        problem = value_range_problem(images.numpy(), self.value_range)
        if problem:
            self._warned = True
            warnings.warn(problem, stacklevel=3)

    def compute_output_shape(self, input_shape: Any, *args: Any, **kwargs: Any) -> Any:
        return input_shape

    def compute_output_spec(
        self, inputs: Any, training: bool = True, seed: Array | None = None
    ) -> Any:
        images_of(inputs)
        return keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), inputs)

    def get_config(self) -> dict[str, Any]:
        own = ("probability", "value_range", "static_shapes", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def _seed_tensor(seed: Any) -> tf.Tensor:
    try:
        return tf.convert_to_tensor(seed)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"seed is {seed!r}; expected two integers, or an int32 tensor of shape [2]."
        ) from error


def _not_for_keras(inputs: dict[str, Any]) -> dict[str, Any]:
    """Returns the entries that Keras refuses: None, lists, numbers, texts, arrays of objects."""
    return {
        name: value
        for name, value in inputs.items()
        if getattr(value, "dtype", "object") == "object"
    }


def _on_tpu() -> bool:
    strategy = tf.distribute.get_strategy()
    return isinstance(strategy, tf.distribute.TPUStrategy)
