"""`SASSLAugmentation`: Algorithm 1 of the paper (arXiv 2312.01187) as a Keras layer."""

from __future__ import annotations

import os
import random
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.errors import UserError
from sassl_tf.resizing import clamp_shorter_side
from sassl_tf.saved_config import fields
from sassl_tf.style_bank import StyleBank
from sassl_tf.stylizers import Stylizer, load_stylizer, stylizer_from_config
from sassl_tf.typing import Array, PathLike

_SMALLEST_SIDE = 5  # px; T mirrors a margin of 4


@keras.saving.register_keras_serializable(package="sassl_tf")
class SASSLAugmentation(keras.layers.Layer):
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
        value_range: the lowest and the highest value of the images' pixels, in and out.
        stylize_size: the shorter side, in pixels, at which F and T run; the change they make is
            upsampled and added to the full-size image. None, or a side no smaller than the
            image's: full size.
        static_shapes: compute every image and then select, instead of only the selected ones, so
            that all shapes are static. Needed where XLA compiles the call (`jit_compile=True`);
            under a TPU strategy it goes without saying.
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
        - seed: int32 [2]; makes the call stateless: the same seed gives the same result anywhere.

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
        # F, T and the blending are float32 under every precision policy. (Keras casts the inner
        # networks' variables to an outer layer's dtype even with autocast=False.)
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        if keras.backend.backend() != "tensorflow":
            raise UserError(
                f"sassl_tf runs on Keras's TensorFlow backend; this is {keras.backend.backend()}. "
                'Set KERAS_BACKEND="tensorflow" before Keras is imported.'
            )
        self.probability = arguments.fraction(probability, "probability")
        self.blending_factor = arguments.factor_range(blending_factor, "blending_factor")
        self.interpolation_factor = arguments.factor_range(
            interpolation_factor, "interpolation_factor"
        )
        self.value_range = arguments.value_range(value_range)
        self.stylize_size = arguments.side(stylize_size, "stylize_size")
        self.encode_size = arguments.side(encode_size, "encode_size")
        self.static_shapes = arguments.truth(static_shapes, "static_shapes")
        self.precision = precision
        self.seed = arguments.integer(seed, "seed")
        self._stylizer_argument = stylizer
        self.stylizer = stylizer if isinstance(stylizer, Stylizer) else load_stylizer(stylizer)
        self._working = self.stylizer.in_precision(precision)
        self.styles = styles
        self.style_bank = self._resolve_styles(styles)
        # Not Keras's SeedGenerator: its read and update race in a parallel `Dataset.map`, so that
        # draws repeat. This one advances atomically.
        draw_seed = random.randrange(2**31) if self.seed is None else self.seed
        self._generator = tf.random.Generator.from_seed(draw_seed)
        self._warned = False
        self.supports_jit = self.static_shapes
        self.built = True

    @property
    def working_precision(self) -> str:
        """ "float32" or "bfloat16": what F and T compute in here, where `precision` may be None."""
        return self._working.precision

    def _resolve_styles(self, styles):
        if isinstance(styles, str) and styles == "in_batch":
            return None
        if isinstance(styles, str) and styles == "default":
            if self.stylizer.name not in StyleBank.DEFAULTS:
                return None
            bank = StyleBank.default(self.stylizer.name)
        elif isinstance(styles, StyleBank):
            bank = styles
        elif isinstance(styles, (str, os.PathLike)):
            bank = StyleBank.load(styles)
        else:
            raise UserError(
                f'styles is {styles!r}; expected "default", "in_batch", a StyleBank or the path '
                "of a saved one."
            )
        bank.check_made_by(self.stylizer)
        return bank

    def __call__(self, inputs: Array | dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if args and not isinstance(args[0], bool):
            raise UserError(
                "SASSLAugmentation got a second positional input, as a map over (image, label) "
                "pairs passes it. Map `lambda image, label: (augment(image), label)`, or dicts "
                'with "images" and "labels".'
            )
        _images_of(inputs)  # before Keras takes the inputs apart
        return super().__call__(inputs, *args, **kwargs)

    def call(
        self, inputs: Array | dict[str, Any], training: bool = True, seed: Array | None = None
    ) -> tf.Tensor | dict[str, Any]:
        images = _images_of(inputs)
        never = self.probability == 0 or self.interpolation_factor[1] == 0
        if not training or never:
            return inputs
        self._warn_of_values(images)
        batched = images.shape.rank == 4
        batch = images if batched else images[None]
        _check_sides(batch)
        count = batch.shape[0] if batch.shape[0] is not None else tf.shape(batch)[0]
        transformation = self.get_random_transformation((count,), self._call_seed(seed))
        batch = self.transform_images(batch, transformation)
        images = batch if batched else batch[0]
        return {**inputs, "images": images} if isinstance(inputs, dict) else images

    def _call_seed(self, seed):
        if seed is None:
            return self._generator.uniform_full_int((2,), tf.int32)
        seed = tf.convert_to_tensor(seed)
        if not seed.dtype.is_integer or not seed.shape.is_compatible_with([2]):
            raise UserError(
                f"seed is {seed.dtype.name} of shape {seed.shape}; expected int32 of shape [2]."
            )
        return seed

    def get_random_transformation(
        self, shape: tuple[int | tf.Tensor, ...], seed: Array
    ) -> dict[str, tf.Tensor]:
        """Draws what Algorithm 1 needs, apart from applying it.

        Args:
            shape: (B,) for a batch; () for one image whose draws are batched later.
            seed: int32 [2].

        Returns:
            A dict of tensors of that shape: "apply" (bool), "alpha", "beta" (float32) and "style"
            (float32 in [0, 1): which of the available styles).
        """
        # Bits of a named algorithm: XLA chooses another one, and makes other floats of the bits.
        seeds = tf.unstack(tf.random.split(seed, 4, alg="philox"))

        def uniform(seed, low=0.0, high=1.0):
            bits = tf.random.stateless_uniform(
                shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
            )
            unit = tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32)
            return low + (high - low) * unit * 2.0**-24

        return {
            "apply": uniform(seeds[0]) < self.probability,
            "style": uniform(seeds[1]),
            "alpha": uniform(seeds[2], *self.blending_factor),
            "beta": uniform(seeds[3], *self.interpolation_factor),
        }

    def transform_images(self, images: Array, transformation: dict[str, tf.Tensor]) -> tf.Tensor:
        """Applies draws to images [B, H, W, 3] in `value_range`; same shape and dtype out."""
        images = tf.convert_to_tensor(images)
        if self.style_bank is None:
            _check_several(images.shape[0] if images.shape[0] is not None else tf.shape(images)[0])
        if self.static_shapes or _on_tpu():
            stylized = self._stylize(images, transformation)
            return tf.where(transformation["apply"][:, None, None, None], stylized, images)
        chosen = tf.where(transformation["apply"])

        def stylize_chosen():
            return tf.tensor_scatter_nd_update(
                images, chosen, self._stylize(images, transformation, chosen[:, 0])
            )

        # Not every operation takes an empty batch, and an unbatched image is often not chosen.
        output = tf.cond(tf.size(chosen) > 0, stylize_chosen, lambda: images)
        output.set_shape(images.shape)
        return output

    def _stylize(self, images, transformation, chosen=None):
        """i_cs of every image, or of the chosen ones alone; in the dtype of `images`."""

        def pick(x):
            return x if chosen is None else tf.gather(x, chosen)

        alpha, beta = (pick(transformation[name]) for name in ("alpha", "beta"))
        if self.style_bank is None:
            # One pass of F over the batch gives z_c and z_s alike.
            unit = self._unit_range(images)
            z = self._encode(clamp_shorter_side(unit, highest=self.stylize_size))
            z_c, z_s = pick(z), pick(_of_another_image(z, transformation["style"]))
            unit = pick(unit)
            small = clamp_shorter_side(unit, highest=self.stylize_size)
        else:
            unit = self._unit_range(pick(images))
            small = clamp_shorter_side(unit, highest=self.stylize_size)
            z_c = self._encode(small)
            codes = tf.constant(self.style_bank.codes)
            number = tf.cast(pick(transformation["style"]) * len(self.style_bank), tf.int32)
            z_s = tf.gather(codes, tf.minimum(number, len(self.style_bank) - 1))
        # An image with NaN pixels is no style: it must not reach another one of its batch.
        usable = tf.reduce_all(tf.math.is_finite(z_s), axis=1, keepdims=True)
        z_s = tf.where(usable, z_s, z_c)

        z = (1 - alpha[:, None]) * z_c + alpha[:, None] * z_s
        change = self._working.stylize(small, z) - small  # î_cs - i_c
        if small is not unit:
            change = tf.image.resize(change, tf.shape(unit)[1:3])
        # (1 - β) i_c + β î_cs, rearranged so that it holds for an upsampled change too.
        mixed = unit + beta[:, None, None, None] * change
        if small is not unit:
            mixed = tf.clip_by_value(mixed, 0.0, 1.0)
        return self._from_unit_range(mixed, images.dtype)

    def _encode(self, images):
        return self._working.encode_style(clamp_shorter_side(images, highest=self.encode_size))

    def _unit_range(self, images):
        low, high = self.value_range
        unit = tf.cast(images, tf.float32)
        if (low, high) != (0, 1):  # each pass over the images counts
            unit = (unit - low) * (1 / (high - low)) if low else unit * (1 / high)
        exact = images.dtype == tf.uint8 and (low, high) == (0, 255)
        return unit if exact else tf.clip_by_value(unit, 0.0, 1.0)

    def _from_unit_range(self, unit, dtype):
        low, high = self.value_range
        if (low, high) != (0, 1):
            unit = unit * (high - low) + low if low else unit * high
        return tf.saturate_cast(tf.round(unit), dtype) if dtype.is_integer else tf.cast(unit, dtype)

    def _warn_of_values(self, images):
        """In eager calls, once: values that cannot be meant."""
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
        _images_of(inputs)
        return keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), inputs)

    def get_config(self) -> dict[str, Any]:
        stylizer, styles = self._stylizer_argument, self.styles
        return {
            **super().get_config(),
            # Others than the package's own are loaded by their fingerprint alone.
            "stylizer": stylizer if stylizer == "compact" else self.stylizer.get_config(),
            "styles": styles if styles in ("default", "in_batch") else self.style_bank.get_config(),
            "probability": self.probability,
            "blending_factor": self.blending_factor,
            "interpolation_factor": self.interpolation_factor,
            "value_range": self.value_range,
            "stylize_size": self.stylize_size,
            "static_shapes": self.static_shapes,
            "encode_size": self.encode_size,
            "precision": self.precision,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SASSLAugmentation:
        """The layer that `get_config` described.

        The config may come from a file of anybody's: for it no path is opened but that of a local
        `.safetensors` file, nothing is downloaded and no model is run.

        Raises:
            ValueError: the config is damaged, or its stylizer has to be made first; the message
                says how.
        """
        kinds = {"stylizer": (str, dict), "styles": (str, dict)}
        stylizer, styles = fields(config, kinds, "a SASSLAugmentation")
        if isinstance(stylizer, dict):
            stylizer = stylizer_from_config(stylizer)
        elif stylizer != "compact":
            raise UserError(
                f"The saved layer names the stylizer {stylizer!r} without a fingerprint, which "
                'only "compact" may go without. Make the layer anew: '
                f"SASSLAugmentation({stylizer!r}, ...)."
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
        except TypeError as error:  # of Keras, for arguments that no layer has
            raise UserError(
                f"The saved config of a SASSLAugmentation is damaged: {error}"
            ) from error


def value_range_problem(values, value_range):
    """What is suspicious about pixel values under a value range, or None.

    Args:
        values: array of pixels; NaN is passed over.
        value_range: (lowest, highest).
    """
    low, high = value_range
    smallest = float(np.fmin.reduce(values, axis=None))
    largest = float(np.fmax.reduce(values, axis=None))
    if smallest < low - 1e-3 or largest > high + 1e-3:
        return (
            f"The images have values from {smallest:g} to {largest:g}, outside "
            f"value_range=({low:g}, {high:g}): they will be clipped. Set value_range to the range "
            "of your images."
        )
    if high > 2 and 0 < largest <= 1:
        return (
            f"All values of the images are in [0, 1], but value_range is ({low:g}, {high:g}): they "
            "will be taken for nearly black. Set value_range=(0, 1)."
        )
    return None


def _check_several(count):
    message = (
        'styles="in_batch" takes the style of another image of the batch, so it needs at least two '
        'images a call: batch the dataset before the map, or use styles="default".'
    )
    if isinstance(count, int) and count < 2:
        raise UserError(message)
    tf.debugging.assert_greater(count, 1, message)


def _of_another_image(codes, draws):
    """For each row the code of another row of the batch, each of the others equally likely."""
    count = tf.shape(codes)[0]
    step = 1 + tf.cast(draws * tf.cast(count - 1, tf.float32), tf.int32)
    step = tf.minimum(step, count - 1)  # against rounding
    return tf.gather(codes, (tf.range(count) + step) % count)


def _on_tpu():
    strategy = tf.distribute.get_strategy()
    return isinstance(strategy, tf.distribute.TPUStrategy)


def _check_sides(images):
    """Raises an error for sides that T cannot pad; where they are not known, once they are."""
    message = (
        f"The images have a side of less than {_SMALLEST_SIDE} pixels, which is too small for a "
        "style. Resize them, or leave them out of the call."
    )
    sides = images.shape[1:3]
    if any(side is not None and side < _SMALLEST_SIDE for side in sides):
        raise UserError(f"{message} Their shape is {tuple(images.shape)}.")
    if None in sides:
        shorter = tf.reduce_min(tf.shape(images)[1:3])
        tf.debugging.assert_greater_equal(shorter, _SMALLEST_SIDE, message)


def _images_of(inputs):
    """The images of a call's inputs, after a look at their form, dtype and shape."""
    if isinstance(inputs, dict) and "images" not in inputs:
        raise UserError(f'The dict has {sorted(inputs)}; expected the images under "images".')
    images = inputs["images"] if isinstance(inputs, dict) else inputs
    if isinstance(images, (tf.RaggedTensor, tf.SparseTensor)) or not hasattr(images, "dtype"):
        raise UserError(
            f"The images are a {type(images).__name__}; expected one array or tensor, [H, W, 3] or "
            "[B, H, W, 3]. Resize images of several sizes to one and stack them (np.stack, "
            "Dataset.batch), or call the layer on each."
        )
    if not _is_number(images.dtype):
        raise UserError(
            f"The images have dtype {_dtype_name(images.dtype)}; expected uint8 or float, in the "
            "layer's value_range."
        )
    if getattr(images.shape, "rank", 0) is None:
        raise UserError(
            "The images have a shape of unknown rank; expected [H, W, 3] or [B, H, W, 3]. Say "
            "which before the call: images = tf.ensure_shape(images, [None, None, 3])."
        )
    shape = tuple(images.shape)
    if len(shape) not in (3, 4) or shape[-1] != 3:
        raise UserError(
            f"The images have shape {shape}; expected [H, W, 3] or [B, H, W, 3]. Convert grayscale "
            "images with tf.image.grayscale_to_rgb and drop an alpha channel; where the shape is "
            "lost, as after tf.io.decode_image, use expand_animations=False and channels=3."
        )
    return images


def _is_number(dtype):
    """Whether it is an integer or floating type, of NumPy, TensorFlow or Keras (a name)."""
    try:
        dtype = tf.as_dtype(dtype)
    except TypeError:  # of no tensor
        return False
    return dtype.is_integer or dtype.is_floating


def _dtype_name(dtype):
    return getattr(dtype, "name", str(dtype))
