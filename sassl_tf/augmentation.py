"""`SASSLAugmentation`: Algorithm 1 of the paper (arXiv 2312.01187) as a Keras layer."""

from __future__ import annotations

import os
from typing import Any

import keras
import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.errors import UserError
from sassl_tf.image_augmentation import ImageAugmentation
from sassl_tf.image_inputs import batch_size, check_sides
from sassl_tf.in_batch import another_row, check_several
from sassl_tf.resizing import clamp_shorter_side
from sassl_tf.saved_config import fields
from sassl_tf.seeding import style_seeds, uniform
from sassl_tf.style_bank import StyleBank
from sassl_tf.stylizers import Stylizer, load_stylizer, stylizer_from_config
from sassl_tf.stylizers.stylizer import SMALLEST_SIDE
from sassl_tf.typing import Array, PathLike, Range
from sassl_tf.value_range import from_unit_range, to_unit_range

_ONE_IMAGE = (
    'styles="in_batch" takes the style of another image of the batch, so it needs at least two '
    "images a call: batch the dataset before the map, with drop_remainder=True if one image may be "
    'left over, or use styles="default".'
)


@keras.saving.register_keras_serializable(package="sassl_tf")
class SASSLAugmentation(ImageAugmentation):
    """Augments images by neural style transfer, blended in feature space and in pixel space.

    For an image i_c that is chosen with probability p, and a style code z_s:

        z_c  = F(i_c)
        α    ~ U(α_min, α_max)
        ẑ    = (1 - α) z_c + α z_s          feature blending
        î_cs = T(i_c, ẑ)
        β    ~ U(β_min, β_max)
        i_cs = (1 - β) i_c + β î_cs         image interpolation

    Every image has draws of its own. Style moves no pixel, so boxes, masks and labels stay valid.

    Args:
        stylizer: F and T: a name for `load_stylizer`, or a `Stylizer`.
        styles: where z_s comes from: "in_batch" (another image of the same batch), a `StyleBank`,
            or the path of a saved one; "default" is the bank inside the package for "compact", and
            "in_batch" for the other stylizers.
        probability: p, of stylizing an image.
        blending_factor: (α_min, α_max) in [0, 1]; one number fixes α.
        interpolation_factor: (β_min, β_max) in [0, 1]; one number fixes β.
        value_range: the lowest and the highest value of the images' pixels, in and out. Eager
            calls warn of values that do not fit; `Dataset.map` and other graphs cannot.
        stylize_size: the shorter side, in pixels, at which F and T run; the change they make is
            upsampled and added to the full-size image. None, or a side no smaller than the
            image's: full size.
        static_shapes: True computes every image and then selects, instead of only the selected
            ones, so that all shapes are static. XLA (`jit_compile=True`) needs this; under a TPU
            strategy it is always so.
        encode_size: the shorter side, in pixels, to which an image is reduced for F alone. It
            speeds up "magenta", whose F takes any size, and changes the codes: docs/performance.md
            has by how much. None: as T sees it.
        precision: "float32" or "bfloat16", of the convolutions of F and T. None: bfloat16
            on a processor that has it, else float32.
        seed: int; fixes the draws of calls in a fixed order. None takes one from Python's
            `random`, which `keras.utils.set_random_seed` seeds.

    Call arguments:
        - inputs: images [H, W, 3] or [B, H, W, 3], uint8 or float (any other integer too), or a
          dict that has them under "images"; what else is in it is passed through.
        - training: False returns the input unchanged.
        - seed: int32 [2]; makes the call stateless: the same seed gives the same draws anywhere,
          and the same result where `precision` is the same.

    Call returns:
        The same structure, shapes and dtypes.

    Raises:
        ValueError: arguments out of range, an unknown stylizer, a bank of another stylizer, images
            of the wrong rank or channels, or "in_batch" styles on less than two images.

    Example:

    ```python
    augment = sassl_tf.SASSLAugmentation()
    dataset = dataset.batch(256).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    ```
    """

    def __init__(
        self,
        stylizer: str | Stylizer = "compact",
        styles: StyleBank | PathLike = "default",
        probability: float = 0.8,
        blending_factor: float | tuple[float, float] = (0.1, 0.3),
        interpolation_factor: float | tuple[float, float] = (0.1, 0.3),
        value_range: tuple[float, float] = (0, 255),
        stylize_size: int | None = None,
        static_shapes: bool = False,
        encode_size: int | None = None,
        precision: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, value_range, static_shapes, seed, **kwargs)
        self.blending_factor = arguments.factor_range(blending_factor, "blending_factor")
        self.interpolation_factor = arguments.factor_range(
            interpolation_factor, "interpolation_factor"
        )
        self.stylize_size = arguments.side(stylize_size, "stylize_size")
        self.encode_size = arguments.side(encode_size, "encode_size")
        self.precision = precision
        self.stylizer = stylizer if isinstance(stylizer, Stylizer) else load_stylizer(stylizer)
        self._working = self.stylizer.in_precision(precision)
        self.styles = styles
        self.style_bank = _bank_of(styles, self.stylizer)

    @property
    def working_precision(self) -> str:
        """Returns the precision of F and T, "float32" or "bfloat16", which None leaves open."""
        return self._working.precision

    def _changes_nothing(self) -> bool:
        return super()._changes_nothing() or self.interpolation_factor[1] == 0

    def get_random_transformation(
        self,
        shape: tuple[int | tf.Tensor, ...],
        seed: Array,
        blending_factor: Range | None = None,
        interpolation_factor: Range | None = None,
    ) -> dict[str, tf.Tensor]:
        """Draws what Algorithm 1 needs, apart from applying it.

        Args:
            shape: (B,) for a batch; () for one image whose draws are batched later.
            seed: int32 [2].
            blending_factor: (α_min, α_max) of these draws, numbers or scalar tensors. None: the
                layer's own.
            interpolation_factor: (β_min, β_max) of these draws, likewise.

        Returns:
            A dict of tensors of that shape: "apply" (bool), "alpha", "beta" (float32) and "style"
            (float32 in [0, 1): which of the available styles).
        """
        seeds = style_seeds(seed)
        alphas = blending_factor or self.blending_factor
        betas = interpolation_factor or self.interpolation_factor
        return {
            "apply": uniform(shape, seeds["apply"]) < self.probability,
            "style": self._draw_style(shape, seeds["style"]),
            "alpha": uniform(shape, seeds["alpha"], *alphas),
            "beta": uniform(shape, seeds["beta"], *betas),
        }

    def _draw_style(self, shape: tuple[int | tf.Tensor, ...], seed: tf.Tensor) -> tf.Tensor:
        """Draws what `_drawn_styles` makes codes of."""
        return uniform(shape, seed)

    def _check_batch(self, images: tf.Tensor) -> None:
        check_sides(images, SMALLEST_SIDE)
        if self.style_bank is None:
            check_several(batch_size(images), _ONE_IMAGE)

    def _augment(
        self,
        images: tf.Tensor,
        transformation: dict[str, tf.Tensor],
        chosen: tf.Tensor | None = None,
    ) -> tf.Tensor:
        def pick(rows: tf.Tensor) -> tf.Tensor:
            return rows if chosen is None else tf.gather(rows, chosen)

        alpha, beta, style = (pick(transformation[name]) for name in ("alpha", "beta", "style"))
        unit = to_unit_range(pick(images), self.value_range)
        small = self._reduced(unit)
        if self.style_bank is None:
            # One pass of F over the batch gives z_c and z_s alike.
            z = self._encode(self._reduced(to_unit_range(images, self.value_range)))
            z_c, z_s = pick(z), pick(tf.gather(z, another_row(transformation["style"])))
        else:
            z_c, z_s = self._encode(small), self._drawn_styles(self.style_bank, style)
        # An image with NaN pixels is no style: it must not reach another one of its batch.
        usable = tf.reduce_all(tf.math.is_finite(z_s), axis=1, keepdims=True)
        z_s = tf.where(usable, z_s, z_c)

        z = (1 - alpha[:, None]) * z_c + alpha[:, None] * z_s
        change = self._working.stylize(small, z) - small  # î_cs - i_c
        if small is not unit:
            change = tf.image.resize(change, tf.shape(unit)[1:3])
        # (1 - β) i_c + β î_cs, rearranged so that it holds for an enlarged change too.
        mixed = unit + beta[:, None, None, None] * change
        if small is not unit:
            mixed = tf.clip_by_value(mixed, 0.0, 1.0)
        return from_unit_range(mixed, self.value_range, images.dtype)

    def _reduced(self, images: tf.Tensor) -> tf.Tensor:
        """Returns images at the size that T and F see."""
        return clamp_shorter_side(
            images, highest=self.stylize_size, by_matrices=self._all_shapes_static()
        )

    def _encode(self, images: tf.Tensor) -> tf.Tensor:
        small = clamp_shorter_side(
            images, highest=self.encode_size, by_matrices=self._all_shapes_static()
        )
        return self._working.encode_style(small)

    def _drawn_styles(self, bank: StyleBank, draws: tf.Tensor) -> tf.Tensor:
        """Returns the codes z_s of the bank that draws [N] in [0, 1) stand for."""
        number = tf.cast(draws * len(bank), tf.int32)
        return tf.gather(tf.constant(bank.codes), tf.minimum(number, len(bank) - 1))

    def get_config(self) -> dict[str, Any]:
        styles, bank = self.styles, self.style_bank
        return {
            **super().get_config(),
            "stylizer": self.stylizer.get_config(),  # loaded by its fingerprint
            "styles": styles if bank is None or styles == "default" else bank.get_config(),
            "blending_factor": self.blending_factor,
            "interpolation_factor": self.interpolation_factor,
            "stylize_size": self.stylize_size,
            "encode_size": self.encode_size,
            "precision": self.precision,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SASSLAugmentation:
        """Makes the layer that `get_config` described.

        The config may come from an untrusted file. So this opens no path but that of a local
        `.safetensors` file, downloads nothing and runs no model.

        Raises:
            ValueError: the config is damaged, or its stylizer has to be made first; the message
                says how.
        """
        kinds = {"stylizer": (str, dict), "styles": (str, dict)}
        stylizer, styles = fields(config, kinds, f"a {cls.__name__}")
        if isinstance(stylizer, dict):
            stylizer = stylizer_from_config(stylizer)
        elif stylizer != "compact":  # which earlier versions saved so
            raise UserError(
                f"The saved layer names the stylizer {stylizer!r} without a fingerprint, which "
                'only "compact" may go without. Make the layer anew: '
                f"{cls.__name__}({stylizer!r}, ...)."
            )
        if isinstance(styles, dict):
            styles = StyleBank.from_config(styles)
        elif styles not in ("default", "in_batch"):
            raise UserError(
                f"The saved layer's styles are {styles!r}; a saved layer holds the codes of its "
                'bank, or "default" or "in_batch", and no path. It was not saved by get_config.'
            )
        try:
            return cls(**{**config, "stylizer": stylizer, "styles": styles})
        except TypeError as error:  # Keras raises it for arguments that no layer has
            raise UserError(f"The saved config of a {cls.__name__} is damaged: {error}") from error


def _bank_of(styles: StyleBank | PathLike, stylizer: Stylizer) -> StyleBank | None:
    """Returns the bank that `styles` asks for, or None where styles come from the batch."""
    if isinstance(styles, str) and styles == "in_batch":
        return None
    if isinstance(styles, str) and styles == "default":
        if stylizer.name not in StyleBank.DEFAULTS:
            return None
        bank = StyleBank.default(stylizer.name)
    elif isinstance(styles, StyleBank):
        bank = styles
    elif isinstance(styles, (str, os.PathLike)):
        bank = StyleBank.load(styles)
    else:
        raise UserError(
            f'styles is {styles!r}; expected "default", "in_batch", a StyleBank or the path '
            "of a saved one."
        )
    bank.check_made_by(stylizer)
    return bank
