"""Layers on images of patches: [B, h, w, p·p·C], of p × p pixels each.

`sassl_tf.stylizers.patches` says what that is good for.
"""

from typing import Any

import keras
import tensorflow as tf

from sassl_tf.stylizers.layers.shapes import ImageShape, resized
from sassl_tf.stylizers.operations import ops
from sassl_tf.stylizers.patches import patch_kernel, placement, upsampled_placement

PATCH = 4  # pixels a side, where a network computes whole patches


@keras.saving.register_keras_serializable(package="sassl_tf")
class SpaceToDepth(keras.layers.Layer):
    """Turns pixels [B, H, W, C] into patches [B, ⌈H/4⌉, ⌈W/4⌉, 16·C].

    Where a side is no multiple of 4, the image is first continued by mirroring.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        height, width = ops.shape(x)[1:3]
        if not all(isinstance(side, int) and side % PATCH == 0 for side in (height, width)):
            margins = [[0, -side % PATCH] for side in (height, width)]
            x = tf.pad(x, [[0, 0], *margins, [0, 0]], mode="SYMMETRIC")
        batch, height, width, channels = ops.shape(x)
        # A transpose with the pixels of a patch's row kept together: 4 times as fast here as
        # tf.nn.space_to_depth, with the same result.
        height, width, row = height // PATCH, width // PATCH, PATCH * channels
        x = ops.reshape(x, (batch * height, PATCH, width, row))
        x = ops.transpose(x, (0, 2, 1, 3))
        return ops.reshape(x, (batch, height, width, PATCH * row))

    def compute_output_shape(self, shape: ImageShape) -> ImageShape:
        return resized(shape, lambda side: -(-side // PATCH), shape[-1] * PATCH**2)


@keras.saving.register_keras_serializable(package="sassl_tf")
class DepthToSpace(keras.layers.Layer):
    """Turns patches [B, h, w, 16·C] into pixels [B, 4·h, 4·w, C]."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        batch, height, width, channels = ops.shape(x)
        row = channels // PATCH
        x = ops.reshape(x, (batch * height, width, PATCH, row))
        x = ops.transpose(x, (0, 2, 1, 3))
        return ops.reshape(x, (batch, height * PATCH, width * PATCH, row // PATCH))

    def compute_output_shape(self, shape: ImageShape) -> ImageShape:
        return resized(shape, lambda side: side * PATCH, shape[-1] // PATCH**2)


@keras.saving.register_keras_serializable(package="sassl_tf")
class PatchPadding(keras.layers.Layer):
    """Adds a ring of patches around [B, h, w, p·p·C].

    Args:
        before: 1 for a row above and a column to the left, else 0.
        after: 1 for a row below and a column to the right, else 0.
        mirror: True mirrors the image without its outermost pixels, as REFLECT does; False with
            them, as SYMMETRIC does.
        side: p, in pixels.
    """

    def __init__(
        self,
        before: int = 1,
        after: int = 1,
        mirror: bool = True,
        side: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.before, self.after, self.mirror, self.side = before, after, mirror, side

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if self.side == 1:
            return self._pad_pixels(x)
        for axis in (1, 2):
            first, last = (x[:, :2], x[:, -2:]) if axis == 1 else (x[:, :, :2], x[:, :, -2:])
            strips = [self._mirrored(first, axis, before=True)] * self.before + [x]
            strips += [self._mirrored(last, axis, before=False)] * self.after
            x = ops.concatenate(strips, axis)
        return x

    def _pad_pixels(self, x: tf.Tensor) -> tf.Tensor:
        """Pads by one gather, which is several times as fast as `tf.pad`."""
        batch, height, width, channels = ops.shape(x)
        rows, columns = self._places(height), self._places(width)
        places = ops.reshape(rows[:, None] * width + columns, (-1,))
        # TensorFlow's own gather; Keras's looks for negative places first.
        x = tf.gather(ops.reshape(x, (batch, height * width, channels)), places, axis=1)
        more = self.before + self.after
        return ops.reshape(x, (batch, height + more, width + more, channels))

    def _places(self, side: int | tf.Tensor) -> tf.Tensor:
        """Returns the row (or column) of x that each row of the output repeats."""
        places = ops.arange(-self.before, side + self.after, dtype="int32")
        last = side - 1
        if self.mirror:
            places = last - ops.abs(last - ops.abs(places))
        return ops.clip(places, 0, last)

    def _mirrored(self, x: tf.Tensor, axis: int, before: bool) -> tf.Tensor:
        """Returns the patches beyond the border from the two rows (or columns) within it."""
        p, skipped = self.side, int(self.mirror)
        batch, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (batch, height, width, p, p, channels // p**2))
        x = ops.moveaxis(x, (axis, axis + 2), (-2, -1))
        x = ops.reshape(x, (*ops.shape(x)[:-2], -1))  # the pixels of two patches in a row
        x = x[..., skipped : skipped + p] if before else x[..., -p - skipped :][..., :p]
        x = ops.moveaxis(ops.flip(x, -1), -1, axis + 1)
        shape = (batch, 1, width, channels) if axis == 1 else (batch, height, 1, channels)
        return ops.reshape(x, shape)

    def compute_output_shape(self, shape: ImageShape) -> ImageShape:
        return resized(shape, lambda side: side + self.before + self.after, shape[-1])

    def get_config(self) -> dict[str, Any]:
        own = {"before": self.before, "after": self.after, "mirror": self.mirror}
        return {**super().get_config(), **own, "side": self.side}


@keras.saving.register_keras_serializable(package="sassl_tf")
class PatchConv2D(keras.layers.Layer):
    """A convolution of pixels that is computed as one of patches.

    Takes [B, h, w, p·p·C] and returns patches again. Its weights are those of a convolution of
    pixels. It pads nothing: `PatchPadding` comes before it.

    Args:
        filters: channels of the pixels that come out.
        size: side of the kernel, in pixels.
        side: p of the patches that go in, in pixels. Those that come out have p / stride pixels
            a side, or 2 p if upsampled.
        stride: 1 or 2.
        upsample: True doubles the pixels first, by their nearest neighbour.
        use_bias: True adds a bias and then applies ReLU.
    """

    def __init__(
        self,
        filters: int,
        size: int,
        side: int,
        stride: int = 1,
        upsample: bool = False,
        use_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.size, self.side, self.stride = filters, size, side, stride
        self.upsample, self.use_bias = upsample, use_bias
        self.places = (
            upsampled_placement(side) if upsample else placement(size, size // 2, side, stride)
        )

    def build(self, input_shape: ImageShape) -> None:
        shape = (self.size, self.size, input_shape[-1] // self.side**2, self.filters)
        self.kernel = self.add_weight(shape, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight((self.filters,), "zeros", name="bias")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = patch_kernel(self.kernel, self.places)
        x = ops.conv(x, kernel, 1, "valid", data_format="channels_last")
        if not self.use_bias:
            return x
        return ops.relu(x + ops.tile(self.bias, (self.places.shape[3],)))

    def compute_output_shape(self, shape: ImageShape) -> ImageShape:
        patches, pixels = self.places.shape[0], self.places.shape[3]
        return resized(shape, lambda side: side - patches + 1, self.filters * pixels)

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "size", "side", "stride", "upsample", "use_bias")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="sassl_tf")
class ConvToPatches(keras.layers.Layer):
    """A convolution of pixels whose output comes in patches of 4×4 pixels.

    Takes [B, H + size - 1, W + size - 1, C] and returns [B, H/4, W/4, 16·filters]; has no bias and
    pads nothing. It suits an output of three colours: three channels leave most of a processor's
    vector unit idle, 48 fill it.

    Args:
        filters: channels of the pixels that come out.
        size: side of the kernel, in pixels.
    """

    def __init__(self, filters: int, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.size = filters, size

    def build(self, input_shape: ImageShape) -> None:
        shape = (self.size, self.size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape, name="kernel")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        last = PATCH - 1
        kernel = ops.concatenate(
            [
                ops.pad(self.kernel, [(row, last - row), (column, last - column), (0, 0), (0, 0)])
                for row in range(PATCH)
                for column in range(PATCH)
            ],
            axis=-1,
        )
        return ops.conv(x, kernel, PATCH, "valid", data_format="channels_last")

    def compute_output_shape(self, shape: ImageShape) -> ImageShape:
        return resized(shape, lambda side: (side - self.size + 1) // PATCH, self.filters * PATCH**2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "size": self.size}
