"""The stylization network T of arbitrary-image-stylization (Ghiasi et al. 2017), at any width.

Source of the architecture: magenta, `models/arbitrary_image_stylization/nza_model.py` and
`models/image_stylization/ops.py`. The layers carry the scope names of those files, with a dot
for the slash, so that a checkpoint's variables are matched by name.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from sassl_tf.stylizers.layers import (
    PATCH,
    ConvToPatches,
    DepthToSpace,
    PatchConv2D,
    PatchPadding,
    ReflectPadding,
    SpaceToDepth,
    StyleNorm,
    UpsampledConv2D,
)

STYLE_CODE_SIZE = 100
RESIDUAL_BLOCKS = 5


def transfer_network(width: float = 1.0) -> keras.Model:
    """Builds T: `[content, code] -> stylized`.

    Args:
        width: multiplies the channels 32, 64 and 128. It is 1 for v1-256, and 0.25 for the mobile
            model, for which `patch_transfer_network` is faster.

    Inputs: content float32 [B, H, W, 3] in [0, 1], H and W from 16; code float32 [B, 100].
    Output: float32 [B, 4·⌈H/4⌉, 4·⌈W/4⌉, 3] in [0, 1]. The three contracting convolutions have a
    bias, into which their batch normalisation is folded; nothing else has one.
    """
    small, medium, large = (int(channels * width) for channels in (32, 64, 128))
    content = keras.Input((None, None, 3), dtype="float32", name="content")
    code = keras.Input((STYLE_CODE_SIZE,), dtype="float32", name="code")

    def style_norm(x: tf.Tensor, name: str, pixels: int = 1) -> tf.Tensor:
        return StyleNorm(pixels, name=f"{name}.StyleNorm")([x, code])

    x = content
    for name, filters, size, stride in (
        ("contract.conv1", small, 9, 1),
        ("contract.conv2", medium, 3, 2),
        ("contract.conv3", large, 3, 2),
    ):
        x = ReflectPadding(size // 2)(x)
        conv = keras.layers.Conv2D(
            filters, size, stride, data_format="channels_last", activation="relu", name=name
        )
        x = conv(x)

    def residual(x: tf.Tensor, name: str) -> tf.Tensor:
        conv = keras.layers.Conv2D(large, 3, data_format="channels_last", use_bias=False, name=name)
        return style_norm(conv(ReflectPadding(1)(x)), name)

    for block in range(1, RESIDUAL_BLOCKS + 1):
        h = ops.relu(residual(x, f"residual.residual{block}.conv1"))
        x = x + residual(h, f"residual.residual{block}.conv2")
    for name, filters in (("expand.conv1.conv", medium), ("expand.conv2.conv", small)):
        x = ops.relu(style_norm(UpsampledConv2D(filters, name=name)(x), name))
    name = "expand.conv3.conv"
    x = ops.cast(ConvToPatches(3, 9, name=name)(ReflectPadding(4)(x)), "float32")
    x = ops.sigmoid(style_norm(x, name, PATCH**2))
    x = DepthToSpace(name="image", dtype="float32")(x)
    return keras.Model([content, code], x, name="transfer_network")


def patch_transfer_network(width: float) -> keras.Model:
    """Builds `transfer_network` in patches of 4×4 pixels, which is faster for few channels.

    Weights and results are the same where the image's sides are multiples of 4. Other images are
    continued by mirroring up to the next multiple.
    """
    small, medium, large = (int(channels * width) for channels in (32, 64, 128))
    content = keras.Input((None, None, 3), dtype="float32", name="content")
    code = keras.Input((STYLE_CODE_SIZE,), dtype="float32", name="code")

    def conv(
        x: tf.Tensor, name: str, filters: int, size: int = 3, side: int = 1, **options: Any
    ) -> tf.Tensor:
        return PatchConv2D(filters, size, side, name=name, **options)(x)

    def style_norm(x: tf.Tensor, name: str, pixels: int = 1) -> tf.Tensor:
        return StyleNorm(pixels, name=f"{name}.StyleNorm")([x, code])

    x = SpaceToDepth(name="patches")(content)
    x = conv(PatchPadding(side=4)(x), "contract.conv1", small, 9, 4, use_bias=True)
    for name, filters, side in (("contract.conv2", medium, 4), ("contract.conv3", large, 2)):
        x = PatchPadding(1, 0, side=side)(x)
        x = conv(x, name, filters, side=side, stride=2, use_bias=True)

    def residual(x: tf.Tensor, name: str) -> tf.Tensor:
        return style_norm(conv(PatchPadding()(x), name, large), name)

    for block in range(1, RESIDUAL_BLOCKS + 1):
        h = ops.relu(residual(x, f"residual.residual{block}.conv1"))
        x = x + residual(h, f"residual.residual{block}.conv2")
    # An enlarged image's reflection repeats the outermost pixels of the small one.
    for name, filters, side in (("expand.conv1.conv", medium, 1), ("expand.conv2.conv", small, 2)):
        x = conv(PatchPadding(mirror=False, side=side)(x), name, filters, side=side, upsample=True)
        x = ops.relu(style_norm(x, name, (2 * side) ** 2))
    name = "expand.conv3.conv"
    x = ops.cast(conv(PatchPadding(side=4)(x), name, 3, 9, 4), "float32")
    x = ops.sigmoid(style_norm(x, name, PATCH**2))
    x = DepthToSpace(name="image", dtype="float32")(x)
    return keras.Model([content, code], x, name="transfer_network")
