"""The compact stylizer: an F and a T of our own, distilled from Magenta's mobile model.

T has its teacher's shape, worked out in patches of 4×4 pixels: dense convolutions at a quarter of
the resolution throughout. Its trunk is the teacher's, five residual blocks of 32 channels that are
normalised by the style twice each; only the expansion to full size is shorter, and ends in a matrix
that is linear in the style. F is the teacher's MobileNetV2, trained to give for an image of 192 px
the code that the teacher gives for one of 256 px. `training/distill_stylizer.py` trains both;
`MODEL_CARD.md` beside the weights has the data and the results.
"""

import functools
import pathlib
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from sassl_tf.errors import UserError
from sassl_tf.stylizers.layers import (
    PATCH,
    DepthToSpace,
    PatchPadding,
    ReflectPadding,
    SpaceToDepth,
    StyleMatrix,
    StyleNorm,
)
from sassl_tf.stylizers.mobile import FLOAT32_LAYERS, mobilenet_style_network
from sassl_tf.stylizers.precision import float32_policy
from sassl_tf.stylizers.stylizer import Stylizer
from sassl_tf.stylizers.transfer_network import RESIDUAL_BLOCKS, STYLE_CODE_SIZE
from sassl_tf.stylizers.weights_file import load_weights
from sassl_tf.typing import PathLike

# Fingerprints of earlier versions of "compact", which banks and workdirs may still have.
EARLIER_VERSIONS = {
    "e9593e7e34bf8b5f": 'version 1 of "compact"',
    "719841f231f78d1b": 'version 2 of "compact"',
    "5e28ece54f4fbdea": 'version 3.0 of "compact"',
}
CHANNELS = 32  # of the trunk, at a quarter of the resolution
STYLE_SIZE = 256  # of the images that F was trained on, resized to its input without antialiasing
INPUT_SIZE = 192


def compact_transfer_network() -> keras.Model:
    """Builds T: `[content, code]` to the stylized image, as `transfer_network`."""
    content = keras.Input((None, None, 3), dtype="float32", name="content")
    code = keras.Input((STYLE_CODE_SIZE,), dtype="float32", name="code")

    def conv(x: tf.Tensor, name: str, filters: int, size: int = 3, **options: Any) -> tf.Tensor:
        layer = keras.layers.Conv2D(
            filters, size, data_format="channels_last", name=name, **options
        )
        return layer(x)

    def styled(x: tf.Tensor, name: str) -> tf.Tensor:
        return StyleNorm(name=f"{name}_style")([x, code])

    x = SpaceToDepth(name="patches")(ReflectPadding(PATCH)(content))
    # The first of the teacher's contracting convolutions is 9×9, within 3×3 patches; the others are
    # 3×3 of stride 2, within 2×2.
    x = conv(x, "contract1", 128, activation="relu")
    for name, filters in (("contract2", 64), ("contract3", CHANNELS)):
        x = PatchPadding(1, 0, mirror=False)(x)
        x = conv(x, name, filters, 2, activation="relu")
    for block in range(1, RESIDUAL_BLOCKS + 1):
        h = conv(PatchPadding()(x), f"block{block}_conv1", CHANNELS, use_bias=False)
        h = ops.relu(styled(h, f"block{block}_conv1"))
        h = conv(PatchPadding()(h), f"block{block}_conv2", CHANNELS, use_bias=False)
        x = x + styled(h, f"block{block}_conv2")
    x = conv(PatchPadding(mirror=False)(x), "expand1", 64, use_bias=False)
    x = ops.relu(styled(x, "expand1"))
    x = conv(PatchPadding(mirror=False)(x), "expand2", 64, activation="relu")
    x = ops.cast(StyleMatrix(3 * PATCH**2, name="output")([x, code]), "float32")
    x = ops.sigmoid(StyleNorm(PATCH**2, name="output_style")([x, code]))
    stylized = DepthToSpace(name="image", dtype="float32")(x)
    return keras.Model([content, code], stylized, name="compact_transfer_network")


def compact_style_network() -> keras.Model:
    """Builds F: images [B, 192, 192, 3] in [0, 1] to codes; see `mobilenet_style_network`."""
    return mobilenet_style_network(INPUT_SIZE, name="compact_style_network")


def packaged(name: str) -> pathlib.Path:
    """Returns a file that is installed with the compact stylizer's weights."""
    return pathlib.Path(__file__).parent / "weights" / name


def load_compact_stylizer(path: PathLike | None = None) -> Stylizer:
    """Loads the compact stylizer, from the package or from a safetensors file.

    That of the package is loaded once in a process, and shared by all that ask for it.

    Raises:
        ValueError: the file is not there, or its tensors do not fit; or the package's style bank
            was made with other weights than those in the package.
    """
    return _packaged_stylizer() if path is None else _stylizer(path, source=str(path))


@functools.cache
def _packaged_stylizer() -> Stylizer:
    stylizer = _stylizer(packaged("compact.safetensors"), source=None)
    _check_packaged(stylizer)
    return stylizer


def _stylizer(path: PathLike, source: str | None) -> Stylizer:
    with float32_policy():
        networks = compact_style_network(), compact_transfer_network()
    load_weights(path, "compact", networks)
    return Stylizer("compact", *networks, STYLE_SIZE, source=source, float32_layers=FLOAT32_LAYERS)


def _check_packaged(stylizer: Stylizer) -> None:
    """Checks the weights by the fingerprint that the style bank beside them has."""
    from sassl_tf.style_bank import StyleBank

    expected = StyleBank.default("compact").fingerprint
    if stylizer.fingerprint != expected:
        raise UserError(
            f"The weights at {packaged('compact.safetensors')} are damaged or were changed: their "
            f"fingerprint is {stylizer.fingerprint}, the style bank beside them is for {expected}. "
            "Install sassl_tf again. New weights are loaded by their path until the bank is theirs."
        )
