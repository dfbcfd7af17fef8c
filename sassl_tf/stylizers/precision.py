"""The precision that F and T compute in."""

import contextlib
import os
import pathlib
from collections.abc import Collection, Iterator

import keras
import tensorflow as tf

from sassl_tf.stylizers.layers import (
    ConvToPatches,
    DepthToSpace,
    PatchConv2D,
    PatchPadding,
    ReflectPadding,
    SpaceToDepth,
    StyleMatrix,
    UpsampledConv2D,
)
from sassl_tf.stylizers.operations import without_random_weights

# Layers that compute in bfloat16 where it is wanted: products, and those that only move pixels.
_BFLOAT16_LAYERS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    UpsampledConv2D,
    ConvToPatches,
    PatchConv2D,
    StyleMatrix,
    ReflectPadding,
    PatchPadding,
    SpaceToDepth,
    DepthToSpace,
)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Gives networks built inside the block this precision policy, whatever the global one is."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        with without_random_weights():
            yield
    finally:
        keras.config.set_dtype_policy(policy)


def float32_policy() -> contextlib.AbstractContextManager[None]:
    """Lets networks built inside the block compute in float32."""
    return dtype_policy("float32")


def processor_has_bfloat16() -> bool:
    """Returns whether the processor multiplies bfloat16 (AVX512-BF16 or AMX), oneDNN permitting."""
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return False
    info = pathlib.Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.exists() else ()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def in_bfloat16(network: keras.Model, float32_layers: Collection[str] = ()) -> keras.Model:
    """Returns a copy of a network, with its weights, whose convolutions are in bfloat16.

    Args:
        network: in float32.
        float32_layers: names of layers that stay in float32.
    """

    def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if isinstance(layer, _BFLOAT16_LAYERS) and layer.name not in float32_layers:
            config["dtype"] = "mixed_bfloat16"
        return type(layer).from_config(config)

    with (
        without_random_weights(),
        tf.init_scope(),
    ):  # inside a tf.function the variables would be the function's own
        copy = keras.models.clone_model(network, clone_function=copy_layer)
        copy.set_weights(network.get_weights())
    return copy
