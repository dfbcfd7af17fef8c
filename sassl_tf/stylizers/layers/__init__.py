"""The layers that stylization networks are made of, besides Keras's own."""

from sassl_tf.stylizers.layers.patches import (
    PATCH,
    ConvToPatches,
    DepthToSpace,
    PatchConv2D,
    PatchPadding,
    SpaceToDepth,
)
from sassl_tf.stylizers.layers.pixels import ReflectPadding, UpsampledConv2D
from sassl_tf.stylizers.layers.style import StyleMatrix, StyleNorm

__all__ = [
    "PATCH",
    "ConvToPatches",
    "DepthToSpace",
    "PatchConv2D",
    "PatchPadding",
    "ReflectPadding",
    "SpaceToDepth",
    "StyleMatrix",
    "StyleNorm",
    "UpsampledConv2D",
]
