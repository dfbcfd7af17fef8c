"""`TwoViews`: images to the two views of a self-supervised method, as a Keras layer."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.errors import UserError
from sassl_tf.image_augmentation import ImageAugmentation
from sassl_tf.image_inputs import batch_size, images_of
from sassl_tf.saved_config import fields
from sassl_tf.typing import Array
from sassl_tf.value_range import from_unit_range, to_unit_range
from sassl_tf.views.apply import crop_view, finish_local_views, finish_views, stacked
from sassl_tf.views.draws import draw_view, image_seeds
from sassl_tf.views.layers.places import check_nothing_has_places
from sassl_tf.views.recipes import MultiCropRecipe, Recipe, View, recipe_of

SIDES = ("left", "right")


@keras.saving.register_keras_serializable(package="sassl_tf")
class TwoViews(ImageAugmentation):
    """Makes two views of every image, as the trainers of this package make them.

    It is made for `tf.data` on a processor, where it takes the images one by one through what each
    of them drew. In a model it works too, but XLA does not compile it.

    Args:
        recipe: "simclr", "moco_v2" (SimSiam's too), "byol", "barlow_twins" (VICReg's and MoCo v3's
            too), "dino", or a `sassl_tf.views.Recipe`.
        size: side of the views, in pixels.
        augment: the layer that stylizes the views whose `View.sassl` says so, in the recipes the
            left one: a `SASSLAugmentation`, or another layer with its `get_random_transformation`
            and `transform_images`. It gets images in its own `value_range`. None: no view is
            stylized. All other draws are the same with and without it.
        value_range: the lowest and the highest value of the images' pixels, in and out.
        local_crops: number of small crops beside the two views (multi-crop), for recipes that have
            a view for them, such as "dino".
        local_size: side of the small crops, in pixels.
        seed: int; fixes the draws of calls in a fixed order. None takes one from Python's
            `random`, which `keras.utils.set_random_seed` seeds.

    Call arguments:
        - inputs: images [H, W, 3] or [B, H, W, 3], uint8 or float, or a dict that has them under
          "images".
        - training: changes nothing; a loss of two views needs them in evaluation as well.
        - seed: int32 [2]; makes the call stateless: the same seed gives the same views anywhere.

    Call returns:
        A dict: "left" and "right", [size, size, 3] or [B, size, size, 3] in the images' dtype and
        range; with small crops "local", [L, local_size, local_size, 3] or [B, L, ...]; and what
        else was in the dict of the inputs.

    Raises:
        ValueError: an unknown recipe, arguments out of range, a layer that cannot stylize or that
            no view asks for, or images of the wrong rank or channels.

    Example:

    ```python
    views = sassl_tf.TwoViews("simclr", size=32, augment=sassl_tf.SASSLAugmentation())
    dataset = sassl_tf.map_with_seeds(dataset.batch(256), views, seed=0)
    ```
    """

    def __init__(
        self,
        recipe: str | Recipe,
        size: int,
        augment: keras.layers.Layer | None = None,
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        local_crops: int = 0,
        local_size: int = 96,
        **kwargs: Any,
    ) -> None:
        super().__init__(1.0, value_range, False, seed, **kwargs)
        self.recipe = recipe_of(recipe)
        self.size = arguments.pixels(size, "size")
        self.local_crops = arguments.count(local_crops, "local_crops")
        self.local_size = arguments.pixels(local_size, "local_size")
        self._local_view: View | None = getattr(self.recipe, "local", None)
        if self.local_crops and self._local_view is None:
            raise UserError(
                f"local_crops is {local_crops}, and the recipe has no view for small crops. Take "
                '"dino", or a sassl_tf.views.MultiCropRecipe.'
            )
        made = [*SIDES, *(["local"] if self.local_crops else [])]
        self.augment = _checked(augment, [getattr(self.recipe, side) for side in made])
        # In eager calls too, where thousands of small operations would each cost their call.
        self._two_views = tf.function(self._make, autograph=False, reduce_retracing=True)

    def _check_beside(self, inputs: dict[str, Any]) -> None:
        check_nothing_has_places(inputs, self)
        if taken := sorted(inputs.keys() & self._shapes(()).keys()):
            raise UserError(
                f"The inputs have {', '.join(taken)} beside the images, which TwoViews calls its "
                "views. Give these entries another name."
            )

    def call(
        self, inputs: Array | dict[str, Any], training: bool = True, seed: Array | None = None
    ) -> dict[str, Any]:
        images = images_of(inputs)
        self._check_range(images)
        self._warn_of_values(images)
        batched = images.shape.rank == 4
        views = self._two_views(images if batched else images[None], self._call_seed(seed))
        if not batched:
            views = {side: view[0] for side, view in views.items()}
        return {**_beside_images(inputs), **views}

    def _make(self, images: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        dtype = images.dtype
        if not (dtype == tf.uint8 and self.value_range == (0, 255)):
            images = to_unit_range(images, self.value_range)
        seeds = image_seeds(seed, batch_size(images))
        crop = tf.function(self._crop_sides, autograph=False).get_concrete_function(
            *(tf.TensorSpec(x.shape[1:], x.dtype) for x in (images, seeds))
        )
        signature = tf.nest.map_structure(
            lambda x: tf.TensorSpec(x.shape, x.dtype), crop.structured_outputs
        )
        sides = tf.map_fn(lambda args: crop(*args), (images, seeds), fn_output_signature=signature)
        views = {}
        for side in SIDES:
            crops, draws = sides[side]
            view = finish_views(crops, draws, getattr(self.recipe, side), self.augment)
            views[side] = from_unit_range(view, self.value_range, dtype)
        if self.local_crops and self._local_view is not None:
            crops, draws = sides["local"]
            local = finish_local_views(crops, draws, self._local_view, self.augment)
            views["local"] = from_unit_range(local, self.value_range, dtype)
        return views

    def _crop_sides(self, image: tf.Tensor, seed: tf.Tensor) -> dict[str, Any]:
        """Draws all views of one image and cuts out their crops: {name: (crop, draws)}."""

        def crop(view: View, size: int, salt: int) -> tuple[tf.Tensor, dict[str, Any]]:
            view_seed = tf.random.fold_in(seed, salt)
            draws = draw_view(view, tf.shape(image), view_seed, self.augment)
            return crop_view(image, draws, size), draws

        sides = {
            side: crop(getattr(self.recipe, side), self.size, salt)
            for salt, side in enumerate(SIDES)
        }
        if self.local_crops and self._local_view is not None:
            local = self._local_view
            salts = range(len(SIDES), len(SIDES) + self.local_crops)
            sides["local"] = stacked([crop(local, self.local_size, salt) for salt in salts])
        return sides

    def _shapes(self, leading: tuple[int | None, ...]) -> dict[str, tuple[int | None, ...]]:
        shapes = dict.fromkeys(SIDES, (*leading, self.size, self.size, 3))
        if self.local_crops:
            side = self.local_size
            shapes["local"] = (*leading, self.local_crops, side, side, 3)
        return shapes

    def compute_output_shape(self, input_shape: Any, *args: Any, **kwargs: Any) -> Any:
        images = input_shape["images"] if isinstance(input_shape, dict) else input_shape
        return {**_beside_images(input_shape), **self._shapes(images[:-3])}

    def compute_output_spec(
        self, inputs: Any, training: bool = True, seed: Array | None = None
    ) -> Any:
        images = images_of(inputs)
        views = {
            name: keras.KerasTensor(shape, images.dtype)
            for name, shape in self._shapes(images.shape[:-3]).items()
        }
        return {**_beside_images(inputs), **views}

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "recipe": dataclasses.asdict(self.recipe),
            "size": self.size,
            "local_crops": self.local_crops,
            "local_size": self.local_size,
            "augment": keras.saving.serialize_keras_object(self.augment),
        }
        for fixed in ("probability", "static_shapes"):
            del config[fixed]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TwoViews:
        """Returns the layer that `get_config` described.

        Raises:
            ValueError: the config is damaged.
        """
        kinds: dict[str, Any] = {"recipe": dict, "augment": (dict, type(None))}
        sides, augment = fields(config, kinds, "a TwoViews")
        try:
            kind = MultiCropRecipe if "local" in sides else Recipe
            recipe = kind(**{side: View(**view) for side, view in sides.items()})
        except TypeError as error:  # of dataclasses, for fields that a view does not have
            raise UserError(f"The saved recipe of a TwoViews is damaged: {error}") from error
        augment = keras.saving.deserialize_keras_object(augment)
        return cls(**{**config, "recipe": recipe, "augment": augment})


def _beside_images(inputs: Any) -> dict[str, Any]:
    """Returns what a dict of inputs has beside the images; nothing where the inputs are images."""
    if not isinstance(inputs, dict):
        return {}
    return {name: value for name, value in inputs.items() if name != "images"}


def _checked(augment: Any, views: list[View]) -> Any:
    """Returns the layer that stylizes.

    Raises:
        ValueError: it lacks what stylizing needs, or none of the views that are made asks for it.
    """
    if augment is None:
        return None
    needed = ("get_random_transformation", "transform_images", "value_range")
    if not all(hasattr(augment, name) for name in needed):
        raise UserError(
            f"augment is {augment!r}; expected a SASSLAugmentation, or a layer with its "
            f"{', '.join(needed)}."
        )
    if not any(view.stylized for view in views):
        raise UserError(
            "augment is given, but no view that is made is stylized. Set View(sassl="
            '"before_jitter") in one, or leave augment out.'
        )
    return augment
