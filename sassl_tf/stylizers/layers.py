"""The layers that stylization networks are made of, besides Keras's own."""

import keras
import tensorflow as tf
from keras import ops

from sassl_tf.errors import UserError
from sassl_tf.stylizers.patches import patch_kernel, placement, upsampled_placement

PATCH = 4  # pixels a side, where a network computes whole patches


@keras.saving.register_keras_serializable(package="sassl_tf")
class StyleNorm(keras.layers.Layer):
    """Conditional instance normalisation: γ(z)·(x - μ) / √(σ² + ε) + β(z), with γ, β linear in z.

    Called on `[x, z]`: float [B, H, W, C] and [B or 1, code_size]; returns [B, H, W, C]. μ and σ²
    are per image and channel. Source: `image_stylization/ops.py`, `conditional_style_norm`.

    Args:
        pixels: how many pixels lie side by side in the C channels, sharing μ, σ², γ and β by
            colour: 16 for images as 4×4 patches, where it is faster than to take them apart.
    """

    EPSILON = 1e-5

    def __init__(self, pixels=1, **kwargs):
        # x comes in the dtype of the network; z, γ and β are float32 whatever that is.
        super().__init__(**{**kwargs, "autocast": False})
        self.pixels = pixels

    def build(self, input_shapes):
        (*_, channels), (*_, code_size) = input_shapes
        channels //= self.pixels
        self.gamma_kernel = self._weight("gamma_kernel", (code_size, channels), "zeros")
        self.gamma_bias = self._weight("gamma_bias", (channels,), "ones")
        self.beta_kernel = self._weight("beta_kernel", (code_size, channels), "zeros")
        self.beta_bias = self._weight("beta_bias", (channels,), "zeros")

    def _weight(self, name, shape, initializer):
        return self.add_weight(shape, initializer, name=name, autocast=False)

    def call(self, inputs):
        x, code = inputs
        gamma = self._per_pixel(ops.matmul(code, self.gamma_kernel) + self.gamma_bias)
        beta = self._per_pixel(ops.matmul(code, self.beta_kernel) + self.beta_bias)
        # Not x·scale + (β - μ·scale): where γ and β are constants, the graph optimizer of
        # TensorFlow 2.21 makes it an instance normalisation with the first image's γ for all.
        centred = x - self._mean(x)
        variance = ops.cast(self._mean(ops.square(centred)), "float32")
        scale = gamma * ops.rsqrt(variance + self.EPSILON)
        return centred * ops.cast(scale, x.dtype) + ops.cast(beta, x.dtype)

    def _mean(self, x):
        # TensorFlow's own sums bfloat16 in float32; Keras's makes a float32 copy of x first.
        mean = tf.reduce_mean(x, axis=(1, 2))
        if self.pixels > 1:
            by_pixel = ops.reshape(mean, (-1, self.pixels, x.shape[-1] // self.pixels))
            mean = ops.mean(by_pixel, axis=1)
        return self._per_pixel(mean)

    def _per_pixel(self, by_colour):
        return ops.tile(by_colour, (1, self.pixels))[:, None, None, :]

    def compute_output_shape(self, input_shapes):
        return input_shapes[0]

    def get_config(self):
        return {**super().get_config(), "pixels": self.pixels}


@keras.saving.register_keras_serializable(package="sassl_tf")
class StyleMatrix(keras.layers.Layer):
    """The features of every position times a matrix of their image, M(z), linear in z.

    Called on `[x, z]`: float [B, h, w, C] and [B or 1, code_size]; returns [B, h, w, filters].

    Args:
        filters: channels of the output.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**{**kwargs, "autocast": False})  # M is float32 up to the product
        self.filters = filters

    def build(self, input_shapes):
        (*_, channels), (*_, code_size) = input_shapes
        shape = (code_size, channels * self.filters)
        self.kernel = self.add_weight(shape, "zeros", name="kernel", autocast=False)
        self.bias = self.add_weight((channels, self.filters), name="bias", autocast=False)

    def call(self, inputs):
        x, code = inputs
        matrix = ops.reshape(ops.matmul(code, self.kernel), (-1, *self.bias.shape)) + self.bias
        batch, height, width, channels = ops.shape(x)
        pixels = ops.reshape(ops.cast(x, self.compute_dtype), (batch, height * width, channels))
        product = ops.matmul(pixels, ops.cast(matrix, self.compute_dtype))
        return ops.reshape(product, (-1, height, width, self.filters))

    def compute_output_shape(self, input_shapes):
        return (*input_shapes[0][:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


@keras.saving.register_keras_serializable(package="sassl_tf")
class ReflectPadding(keras.layers.Layer):
    """REFLECT padding of height and width; by slices, several times as fast as `ops.pad`.

    Args:
        margin: in pixels.

    Raises:
        ValueError: a side is no longer than the margin (a slice of too few would go unnoticed).
    """

    def __init__(self, margin, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin

    def call(self, x):
        height, width = x.shape[1:3]
        if any(side is not None and side <= self.margin for side in (height, width)):
            raise UserError(f"T got {height}×{width} pixels; expected more than {self.margin}.")
        before, after = slice(1, self.margin + 1), slice(-self.margin - 1, -1)

        def mirrored(strip, axis):
            return ops.flip(strip, axis) if self.margin > 1 else strip

        x = ops.concatenate([mirrored(x[:, before], 1), x, mirrored(x[:, after], 1)], axis=1)
        strips = mirrored(x[:, :, before], 2), mirrored(x[:, :, after], 2)
        return ops.concatenate([strips[0], x, strips[1]], axis=2)

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        sides = [side if side is None else side + 2 * self.margin for side in (height, width)]
        return (batch, *sides, channels)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package="sassl_tf")
class PatchPadding(keras.layers.Layer):
    """One ring of patches around [B, h, w, p·p·C].

    Args:
        before: 1 for a row above and a column to the left, else 0.
        after: 1 for a row below and a column to the right, else 0.
        mirror: whether the ring mirrors what lies inside without its outermost pixels, as REFLECT
            does; else with them, as SYMMETRIC does.
        side: p, in pixels.
    """

    def __init__(self, before=1, after=1, mirror=True, side=1, **kwargs):
        super().__init__(**kwargs)
        self.before, self.after, self.mirror, self.side = before, after, mirror, side

    def call(self, x):
        if self.side == 1:
            return self._of_pixels(x)
        for axis in (1, 2):
            first, last = (x[:, :2], x[:, -2:]) if axis == 1 else (x[:, :, :2], x[:, :, -2:])
            strips = [self._mirrored(first, axis, before=True)] * self.before + [x]
            strips += [self._mirrored(last, axis, before=False)] * self.after
            x = ops.concatenate(strips, axis)
        return x

    def _of_pixels(self, x):
        """Pads by one gather, which is several times as fast as `tf.pad`."""
        batch, height, width, channels = ops.shape(x)
        rows, columns = self._places(height), self._places(width)
        places = ops.reshape(rows[:, None] * width + columns, (-1,))
        # TensorFlow's own gather; Keras's looks for negative places first.
        x = tf.gather(ops.reshape(x, (batch, height * width, channels)), places, axis=1)
        more = self.before + self.after
        return ops.reshape(x, (batch, height + more, width + more, channels))

    def _places(self, side):
        places = ops.arange(-self.before, side + self.after, dtype="int32")
        last = side - 1
        if self.mirror:
            places = last - ops.abs(last - ops.abs(places))
        return ops.clip(places, 0, last)

    def _mirrored(self, x, axis, before):
        """The patch beyond the border, of the two within it."""
        p, skipped = self.side, int(self.mirror)
        batch, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (batch, height, width, p, p, channels // p**2))
        x = ops.moveaxis(x, (axis, axis + 2), (-2, -1))
        x = ops.reshape(x, (*ops.shape(x)[:-2], -1))  # the pixels of two patches in a row
        x = x[..., skipped : skipped + p] if before else x[..., -p - skipped :][..., :p]
        x = ops.moveaxis(ops.flip(x, -1), -1, axis + 1)
        shape = (batch, 1, width, channels) if axis == 1 else (batch, height, 1, channels)
        return ops.reshape(x, shape)

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        more = self.before + self.after
        return (batch, *(s if s is None else s + more for s in (height, width)), channels)

    def get_config(self):
        own = {"before": self.before, "after": self.after, "mirror": self.mirror}
        return {**super().get_config(), **own, "side": self.side}


@keras.saving.register_keras_serializable(package="sassl_tf")
class PatchConv2D(keras.layers.Layer):
    """A convolution of pixels, computed as one of patches: [B, h, w, p·p·C] to patches again.

    Its weights are those of a convolution of pixels. Patches are padded before, by `PatchPadding`.

    Args:
        filters: channels of the pixels that come out.
        size: side of the kernel, in pixels.
        side: p of the patches that go in, in pixels. Those that come out have p / stride pixels
            a side, or 2 p if upsampled.
        stride: 1 or 2.
        upsample: whether the pixels are doubled first, by their nearest neighbour.
        use_bias: whether there is a bias, and a ReLU after it.
    """

    def __init__(self, filters, size, side, stride=1, upsample=False, use_bias=False, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.size, self.side, self.stride = filters, size, side, stride
        self.upsample, self.use_bias = upsample, use_bias
        self.places = (
            upsampled_placement(side) if upsample else placement(size, size // 2, side, stride)
        )

    def build(self, input_shape):
        shape = (self.size, self.size, input_shape[-1] // self.side**2, self.filters)
        self.kernel = self.add_weight(shape, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight((self.filters,), "zeros", name="bias")

    def call(self, x):
        kernel = patch_kernel(self.kernel, self.places)
        x = ops.conv(x, kernel, 1, "valid", data_format="channels_last")
        if not self.use_bias:
            return x
        return ops.relu(x + ops.tile(self.bias, (self.places.shape[3],)))

    def compute_output_shape(self, shape):
        batch, height, width, _ = shape
        less = self.places.shape[0] - 1
        sides = [side if side is None else side - less for side in (height, width)]
        return (batch, *sides, self.filters * self.places.shape[3])

    def get_config(self):
        names = ("filters", "size", "side", "stride", "upsample", "use_bias")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="sassl_tf")
class UpsampledConv2D(keras.layers.Layer):
    """Nearest-neighbour ×2, REFLECT padding of 1 and a 3×3 convolution, in one step.

    [B, H, W, C] -> [B, 2H, 2W, filters], without bias. Neighbours of an enlarged image are equal,
    so the nine taps are four on the small one: a transposed convolution of stride 2, whose 4×4
    kernel is the sum of the 3×3 one's shifts by up to a pixel. At the border, the reflection of
    the large image is the repetition of the small one's outermost pixels.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        self.kernel = self.add_weight((3, 3, input_shape[-1], self.filters), name="kernel")

    def call(self, x):
        kernel = ops.transpose(ops.flip(self.kernel, (0, 1)), (0, 1, 3, 2))
        shifts = [(y, x) for y in (0, 1) for x in (0, 1)]
        kernel = sum(ops.pad(kernel, [(y, 1 - y), (x, 1 - x), (0, 0), (0, 0)]) for y, x in shifts)
        x = ops.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
        x = ops.concatenate([x[:, :, :1], x, x[:, :, -1:]], axis=2)
        x = ops.conv_transpose(x, kernel, 2, "valid", data_format="channels_last")
        return x[:, 3:-3, 3:-3]

    def compute_output_shape(self, shape):
        batch, height, width, _ = shape
        sides = [side if side is None else 2 * side for side in (height, width)]
        return (batch, *sides, self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


@keras.saving.register_keras_serializable(package="sassl_tf")
class ConvToPatches(keras.layers.Layer):
    """A convolution without bias or padding that gives its output in patches of 4×4 pixels.

    [B, H + size - 1, W + size - 1, C] -> [B, H/4, W/4, 16·filters]. For the three colours of an
    image: three output channels leave most of a processor's vector unit idle, 48 fill it.
    """

    def __init__(self, filters, size, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.size = filters, size

    def build(self, input_shape):
        shape = (self.size, self.size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape, name="kernel")

    def call(self, x):
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

    def compute_output_shape(self, shape):
        batch, height, width, _ = shape
        sides = [
            side if side is None else (side - self.size + 1) // PATCH for side in (height, width)
        ]
        return (batch, *sides, self.filters * PATCH**2)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "size": self.size}


@keras.saving.register_keras_serializable(package="sassl_tf")
class SpaceToDepth(keras.layers.Layer):
    """[B, H, W, C] -> [B, ⌈H/4⌉, ⌈W/4⌉, 16·C]; a ragged edge is filled by mirroring."""

    def call(self, x):
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

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        sides = [side if side is None else -(-side // PATCH) for side in (height, width)]
        return (batch, *sides, channels * PATCH**2)


@keras.saving.register_keras_serializable(package="sassl_tf")
class DepthToSpace(keras.layers.Layer):
    """[B, h, w, 16·C] -> [B, 4·h, 4·w, C], the inverse."""

    def call(self, x):
        batch, height, width, channels = ops.shape(x)
        row = channels // PATCH
        x = ops.reshape(x, (batch * height, width, PATCH, row))
        x = ops.transpose(x, (0, 2, 1, 3))
        return ops.reshape(x, (batch, height * PATCH, width * PATCH, row // PATCH))

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        sides = [side if side is None else side * PATCH for side in (height, width)]
        return (batch, *sides, channels // PATCH**2)
