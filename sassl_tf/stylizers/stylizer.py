"""A stylizer: the style extractor F and the stylization network T of SASSL (Algorithm 1)."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Collection
from typing import Any

import keras
import tensorflow as tf

from sassl_tf.errors import UserError
from sassl_tf.image_inputs import check_sides
from sassl_tf.resizing import clamp_shorter_side
from sassl_tf.stylizers.fingerprint import fingerprint, remember
from sassl_tf.stylizers.frozen import FrozenModel
from sassl_tf.stylizers.precision import in_bfloat16, processor_has_bfloat16
from sassl_tf.stylizers.weights_file import save_weights
from sassl_tf.typing import Array, PathLike

SMALLEST_SIDE = 5  # px; T mirrors a margin of 4


class Stylizer:
    """F and T behind one interface. `sassl_tf.load_stylizer` makes one.

    The networks' weights enter every graph as constants. So a `tf.data` pipeline carries them to
    wherever it runs, no `tf.distribute` strategy mirrors them, and a model that holds a
    `SASSLAugmentation` layer has no more weights than without it.

    Args:
        name: of the stylizer for `load_stylizer`.
        style_network: F as a Keras model, images to codes.
        transfer_network: T as a Keras model, [content, code] to the stylized image.
        style_size: side in pixels of the style images that F was trained on.
        min_side: None where all images are resized for F, to the side of its input, or to
            `style_size` if its input has no fixed side; else the shortest side that F takes, to
            which smaller images are enlarged.
        source: `weights` with which `load_stylizer` loads this stylizer again.
        float32_layers: names of layers that stay in float32 in every precision.

    Attributes:
        name, code_size, style_size, source: as above.
        fingerprint: 16 hexadecimal digits over the names, shapes and values of the weights.
        precision: of the convolutions, "float32" or "bfloat16"; see `in_precision`.
    """

    precision = "float32"
    _in_float32: Stylizer  # where the precision is another

    def __init__(
        self,
        name: str,
        style_network: keras.Model,
        transfer_network: keras.Model,
        style_size: int,
        *,
        min_side: int | None = None,
        source: str | None = None,
        float32_layers: Collection[str] = (),
    ) -> None:
        self.name = name
        self.source = source
        self.style_size = style_size
        self.code_size: int = style_network.output_shape[-1]
        self.style_network = style_network
        self.transfer_network = transfer_network
        self._min_side = min_side
        self._input_side: int = style_network.input_shape[1] or style_size
        self._float32_layers = float32_layers
        self._encode = FrozenModel(style_network)
        self._transfer = FrozenModel(transfer_network)
        self.fingerprint = fingerprint(style_size, style_network, transfer_network)
        remember(self)

    def in_precision(self, precision: str | None = None) -> Stylizer:
        """Returns this stylizer with its convolutions in a precision.

        Weights and fingerprint are the same. Codes and images in bfloat16 differ a little from
        those in float32; docs/performance.md has by how much.

        Args:
            precision: "float32", "bfloat16", or None: bfloat16 on a processor that has it
                (AVX512-BF16 or AMX), else float32.

        Raises:
            ValueError: another precision.
        """
        if precision is None:
            precision = "bfloat16" if processor_has_bfloat16() else "float32"
        if precision not in ("float32", "bfloat16"):
            raise UserError(f'precision is {precision!r}; expected "float32", "bfloat16" or None.')
        exact = self if self.precision == "float32" else self._in_float32
        return exact if precision == "float32" else exact._in_bfloat16

    @functools.cached_property
    def _in_bfloat16(self) -> Stylizer:
        twin = copy.copy(self)
        twin.precision = "bfloat16"
        twin._in_float32 = self
        twin._encode = FrozenModel(in_bfloat16(self.style_network, self._float32_layers))
        twin._transfer = FrozenModel(in_bfloat16(self.transfer_network, self._float32_layers))
        return twin

    def encode_style(self, images: Array) -> tf.Tensor:
        """Computes z = F(i), the style codes of images.

        Args:
            images: float [B, H, W, 3] in [0, 1]. They are resized (bilinear) to the side of F's
                input, unless F takes any size (`min_side`).

        Returns:
            float32 [B, code_size].

        Raises:
            ValueError: not four axes, not three channels, or, in eager calls, values far outside
                [0, 1].
        """
        images = _as_images(images, "images")
        if self._min_side is not None:
            images = clamp_shorter_side(images, lowest=self._min_side, by_matrices=True)
        elif tuple(images.shape[1:3]) != (self._input_side, self._input_side):
            images = tf.image.resize(images, (self._input_side, self._input_side))
        return self._encode(images)

    def stylize(self, images: Array, codes: Array) -> tf.Tensor:
        """Computes î = T(i, z), the images in the style of the codes.

        Args:
            images: float [B or 1, H, W, 3] in [0, 1].
            codes: float [B or 1, code_size].

        Returns:
            float32 [B, H, W, 3] in [0, 1].

        Raises:
            ValueError: `images` has not four axes and three channels, a side below 5 px or, in
                eager calls, values far outside [0, 1]; `codes` has not two axes and `code_size`
                columns; or there are not as many of both, nor 1 of either. A small side that
                only a graph finds is a `tf.errors.InvalidArgumentError`.
        """
        images = _as_images(images, "images")
        if None in images.shape[1:3]:  # T itself sees only sides that are known
            check_sides(images, SMALLEST_SIDE)
        codes = tf.cast(tf.convert_to_tensor(codes), tf.float32)
        if codes.shape.rank != 2 or codes.shape[-1] not in (None, self.code_size):
            raise UserError(
                f"codes has shape {codes.shape}; the {self.name} stylizer expects "
                f"[B or 1, {self.code_size}], as encode_style returns them."
            )
        rows, count = codes.shape[0], images.shape[0]
        if None not in (rows, count) and rows != count and 1 not in (rows, count):
            raise UserError(
                f"There are {rows} codes for {count} images; expected as many of the one as of the "
                "other, or 1 of either."
            )
        stylized = self._transfer([images, codes])
        height, width = _sides(images)
        return tf.cast(stylized[:, :height, :width], tf.float32)

    def save(self, path: PathLike) -> None:
        """Writes the weights of F and T as safetensors, for `load_stylizer(name, weights=path)`.

        Raises:
            ValueError: `path` does not end in .safetensors, by which it is known when it is loaded.
        """
        if not os.fspath(path).endswith(".safetensors"):
            raise UserError(f"The path is {os.fspath(path)}; give one that ends in .safetensors.")
        save_weights(path, self.name, (self.style_network, self.transfer_network))

    def get_config(self) -> dict[str, Any]:
        """Returns what `stylizer_from_config` needs: where the weights are, and not the weights."""
        return {"name": self.name, "weights": self.source, "fingerprint": self.fingerprint}

    def __repr__(self) -> str:
        return f"<Stylizer {self.name} {self.fingerprint}>"


def _as_images(images: Array, argument: str) -> tf.Tensor:
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise UserError(
            f"{argument} has dtype {images.dtype.name}; a stylizer expects float images in "
            "[0, 1]. Divide 8-bit images by 255."
        )
    if images.shape.rank != 4 or images.shape[-1] != 3:
        raise UserError(f"{argument} has shape {images.shape}; expected [B, H, W, 3].")
    images = tf.cast(images, tf.float32)
    if tf.executing_eagerly() and tf.size(images):
        low, high = float(tf.reduce_min(images)), float(tf.reduce_max(images))
        if low < -0.5 or high > 2:  # a resized image may be a little beyond [0, 1]
            raise UserError(
                f"{argument} has values from {low:g} to {high:g}; a stylizer expects float images "
                "in [0, 1]. Divide 8-bit images by 255; bring [-1, 1] there by (x + 1) / 2."
            )
    return images


def _sides(images: tf.Tensor) -> list[int | tf.Tensor]:
    """Returns height and width: numbers where they are known, else tensors."""
    dynamic = tf.shape(images)
    static = images.shape
    return [dynamic[i] if static[i] is None else static[i] for i in (1, 2)]
