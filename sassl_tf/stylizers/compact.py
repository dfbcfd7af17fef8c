"""The compact stylizer: a small F and T of our own, distilled from Magenta's mobile model.

T works at a quarter of the resolution, so that nearly all of its arithmetic is dense 3×3
convolutions on 1/16 of the pixels, and a last matrix, of the style, that also sees the pixels
themselves; F sees the image at 128 px. `training/distill_stylizer.py`
trains both; `MODEL_CARD.md` beside the weights says with what and how well.
"""

import importlib.resources

import keras
from keras import ops

from sassl_tf.stylizers.layers import PATCH, DepthToSpace, SpaceToDepth, StyleMatrix, StyleNorm
from sassl_tf.stylizers.stylizer import Stylizer, float32_policy
from sassl_tf.stylizers.transfer_network import STYLE_CODE_SIZE
from sassl_tf.stylizers.weights_file import load_weights

CHANNELS = 32
BLOCKS = 3
STYLE_SIZE = 128


def compact_transfer_network(code_size=STYLE_CODE_SIZE):
    """T: `[content, code]` to the stylized image, as `transfer_network`."""
    content = keras.Input((None, None, 3), name="content")
    code = keras.Input((code_size,), name="code")

    def conv(x, name, use_bias=False):
        layer = keras.layers.Conv2D(
            CHANNELS, 3, 1, "same", "channels_last", use_bias=use_bias, name=name
        )
        return layer(x)

    def styled(x, name):
        return ops.relu(StyleNorm(name=f"{name}_style")([conv(x, name), code]))

    patches = SpaceToDepth(name="patches")(content)
    x = styled(patches, "stem")
    for block in range(1, BLOCKS + 1):
        h = styled(x, f"block{block}_conv1")
        x = x + conv(h, f"block{block}_conv2", use_bias=True)
    x = StyleMatrix(name="output")([x, patches, code])
    x = ops.sigmoid(StyleNorm(pixels=PATCH**2, name="output_style")([x, code]))
    stylized = DepthToSpace(name="image")(x)
    return keras.Model([content, code], stylized, name="compact_transfer_network")


def compact_style_network(code_size=STYLE_CODE_SIZE):
    """F: images [B, 128, 128, 3] in [0, 1] to codes, from channel statistics at every depth."""
    images = keras.Input((STYLE_SIZE, STYLE_SIZE, 3), name="images")
    x = SpaceToDepth(name="patches")(images * 2.0 - 1.0)
    statistics = [x]
    for name, filters, stride in (("conv1", 48, 1), ("conv2", 64, 2), ("conv3", 96, 2)):
        conv = keras.layers.Conv2D(
            filters, 3, stride, "same", "channels_last", activation="relu", name=name
        )
        x = conv(x)
        statistics.append(x)
    conv = keras.layers.Conv2D(128, 3, 1, "same", "channels_last", activation="relu", name="conv4")
    x = conv(x)
    statistics.append(x)
    moments = []
    for features in statistics:
        mean, variance = ops.moments(features, axes=(1, 2))
        moments += [mean, ops.sqrt(variance + 1e-4)]
    x = keras.layers.Dense(192, activation="relu", name="hidden")(ops.concatenate(moments, -1))
    code = keras.layers.Dense(code_size, name="code")(x)
    return keras.Model(images, code, name="compact_style_network")


def packaged(name):
    """A file that is installed with the compact stylizer's weights."""
    return importlib.resources.files("sassl_tf.stylizers") / "weights" / name


def load_compact_stylizer(path=None):
    """The compact stylizer, from the package or from a safetensors file.

    Raises:
        ValueError: the file is not there, or its tensors do not fit; or the package's own file is
            not the one that its style bank was made with.
    """
    with float32_policy():
        networks = compact_style_network(), compact_transfer_network()
    load_weights(path or packaged("compact.safetensors"), "compact", networks)
    if path is not None:
        return Stylizer("compact", *networks, STYLE_SIZE, source=str(path))
    stylizer = Stylizer("compact", *networks, STYLE_SIZE)
    _check_packaged(stylizer)
    return stylizer


def _check_packaged(stylizer):
    """The bank beside the weights has their fingerprint: a checksum that is renewed with them."""
    from sassl_tf.style_bank import StyleBank

    expected = StyleBank.default("compact").fingerprint
    if stylizer.fingerprint != expected:
        raise ValueError(
            f"The weights at {packaged('compact.safetensors')} are damaged or were changed: their "
            f"fingerprint is {stylizer.fingerprint}, the style bank beside them is for {expected}. "
            "Install sassl_tf again. New weights are loaded by their path until the bank is theirs."
        )
