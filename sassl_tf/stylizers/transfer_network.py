"""The stylization network T of arbitrary-image-stylization (Ghiasi et al. 2017), at any width.

Source of the architecture: magenta, `models/arbitrary_image_stylization/nza_model.py` and
`models/image_stylization/ops.py`. The layers carry the scope names of those files, with a dot
for the slash, so that a checkpoint's variables are matched by name.
"""

import keras
from keras import ops

STYLE_CODE_SIZE = 100
RESIDUAL_BLOCKS = 5


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
        super().__init__(**kwargs)
        self.pixels = pixels

    def build(self, input_shapes):
        (*_, channels), (*_, code_size) = input_shapes
        channels //= self.pixels
        zeros, ones = "zeros", "ones"
        self.gamma_kernel = self.add_weight((code_size, channels), zeros, name="gamma_kernel")
        self.gamma_bias = self.add_weight((channels,), ones, name="gamma_bias")
        self.beta_kernel = self.add_weight((code_size, channels), zeros, name="beta_kernel")
        self.beta_bias = self.add_weight((channels,), zeros, name="beta_bias")

    def call(self, inputs):
        x, code = inputs
        gamma = self._per_pixel(ops.matmul(code, self.gamma_kernel) + self.gamma_bias)
        beta = self._per_pixel(ops.matmul(code, self.beta_kernel) + self.beta_bias)
        # Not x·scale + (β - μ·scale): where γ and β are constants, the graph optimizer of
        # TensorFlow 2.21 makes it an instance normalisation with the first image's γ for all.
        centred = x - self._mean(x)
        variance = self._mean(ops.square(centred))
        return centred * (gamma * ops.rsqrt(variance + self.EPSILON)) + beta

    def _mean(self, x):
        mean = ops.mean(x, axis=(1, 2))
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


def _convolution(x, name, filters, size, stride=1, use_bias=False):
    """REFLECT padding of size // 2, then a VALID convolution, as in magenta's `ops.conv2d`."""
    margin = size // 2
    x = ops.pad(x, [(0, 0), (margin, margin), (margin, margin), (0, 0)], mode="reflect")
    return keras.layers.Conv2D(filters, size, stride, use_bias=use_bias, name=name)(x)


def transfer_network(width=1.0, code_size=STYLE_CODE_SIZE):
    """T as a Keras model: `[content, code] -> stylized`.

    Args:
        width: multiplies the channels 32, 64 and 128; 1 for v1-256, 0.25 for the mobile model.
        code_size: length of the style code.

    Inputs: content float32 [B, H, W, 3] in [0, 1], H and W from 16; code float32 [B, code_size].
    Output: float32 [B, 4·⌈H/4⌉, 4·⌈W/4⌉, 3] in [0, 1]. The three contracting convolutions have a
    bias, into which their batch normalisation is folded; nothing else has one.
    """
    small, medium, large = (int(channels * width) for channels in (32, 64, 128))
    content = keras.Input((None, None, 3), name="content")
    code = keras.Input((code_size,), name="code")

    def styled(x, name, filters, size):
        x = _convolution(x, name, filters, size)
        return StyleNorm(name=f"{name}.StyleNorm")([x, code])

    x = content
    for name, filters, size, stride in (
        ("contract.conv1", small, 9, 1),
        ("contract.conv2", medium, 3, 2),
        ("contract.conv3", large, 3, 2),
    ):
        x = ops.relu(_convolution(x, name, filters, size, stride, use_bias=True))
    for block in range(1, RESIDUAL_BLOCKS + 1):
        h = ops.relu(styled(x, f"residual.residual{block}.conv1", large, 3))
        x = x + styled(h, f"residual.residual{block}.conv2", large, 3)
    for name, filters in (("expand.conv1.conv", medium), ("expand.conv2.conv", small)):
        x = keras.layers.UpSampling2D(2, interpolation="nearest")(x)
        x = ops.relu(styled(x, name, filters, 3))
    x = styled(x, "expand.conv3.conv", 3, 9)
    return keras.Model([content, code], ops.sigmoid(x), name="transfer_network")
