"""Magenta's mobile style transfer model: MobileNetV2's F, and T at a quarter of the width.

The weights come from the two TensorFlow Lite files that Magenta published, dequantized. Its code
space is its own: codes of another stylizer mean nothing to it.
"""

import pathlib
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from sassl_tf.errors import UserError
from sassl_tf.stylizers import hub, kaggle
from sassl_tf.stylizers.named_weights import set_named_weights
from sassl_tf.stylizers.precision import float32_policy
from sassl_tf.stylizers.stylizer import Stylizer
from sassl_tf.stylizers.tflite import read_tflite_constants
from sassl_tf.stylizers.transfer_network import STYLE_CODE_SIZE, patch_transfer_network
from sassl_tf.stylizers.weights_file import load_weights
from sassl_tf.typing import PathLike

STYLE_FILE = "style_predict_quantized_256.tflite"
TRANSFER_FILE = "style_transfer_quantized_dynamic.tflite"
SHA256 = {  # of these files, as Magenta published them
    STYLE_FILE: "203dbd6a09da1091ab7e48e8b101aef8c2d81438ad047a5cb150747a977134c1",
    TRANSFER_FILE: "69b191c1f1f3f6520634293803a528469015a00269f982ebd38b7850f68d9341",
}
STYLE_SIZE = 256
KAGGLE_HANDLE = "google/arbitrary-image-stylization-v1/tfLite/256-int8"
TF_HUB = "https://tfhub.dev/google/lite-model/magenta/arbitrary-image-stylization-v1-256/int8/"
REMEDY = (
    f"With {STYLE_FILE} and {TRANSFER_FILE} in a folder no network is needed: "
    'load_stylizer("magenta-mobile", weights=FOLDER). Kaggle Models has both files under '
    "google/arbitrary-image-stylization-v1 (TFLite, variations 256-int8-prediction and "
    "256-int8-transfer)."
)
TRANSFER_WIDTH = 0.25
# Layers of F that stay in float32 where the others are in bfloat16. Rounding does the most harm
# where the image comes in. On 64 photographs it adds 2.2 % to the variance of T's γ and β with all
# layers in bfloat16, and 0.3 % with these in float32, for 3 % more of F's time (compact).
FLOAT32_LAYERS = ("Conv", "expanded_conv.depthwise", "expanded_conv.project")

# Expansion, output channels, repeats and first stride of MobileNetV2's inverted residual blocks
# (Sandler et al. 2018, table 2).
_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_style_network(
    side: int | None = None,
    name: str = "mobilenet_style_network",
) -> keras.Model:
    """Builds F: float32 images [B, side, side, 3] in [0, 1] to codes [B, 100].

    MobileNetV2 to its last 1×1 convolution (1280 channels), the mean over height and width, and a
    linear map. Batch normalisation is folded into the convolutions' biases.
    """
    images = keras.Input((side, side, 3), dtype="float32", name="images")

    def convolution(
        x: tf.Tensor, name: str, filters: int, size: int = 1, stride: int = 1
    ) -> tf.Tensor:
        conv = keras.layers.Conv2D(filters, size, stride, "same", "channels_last", name=name)
        return conv(x)

    x = ops.relu6(convolution(images, "Conv", 32, 3, 2))
    index = 0
    for expansion, filters, repeats, first_stride in _BLOCKS:
        for repeat in range(repeats):
            block = f"expanded_conv_{index}" if index else "expanded_conv"
            stride = first_stride if repeat == 0 else 1
            h = x
            if expansion > 1:
                h = ops.relu6(convolution(h, f"{block}.expand", x.shape[-1] * expansion))
            depthwise = keras.layers.DepthwiseConv2D(
                3, stride, "same", data_format="channels_last", name=f"{block}.depthwise"
            )
            h = ops.relu6(depthwise(h))
            h = convolution(h, f"{block}.project", filters)
            x = h if repeat == 0 else x + h
            index += 1
    x = ops.relu6(convolution(x, "Conv_1", 1280))
    code = keras.layers.Dense(STYLE_CODE_SIZE, name="code")(ops.mean(x, axis=(1, 2)))
    return keras.Model(images, code, name=name)


def load_mobile_stylizer(weights: PathLike | None = None) -> Stylizer:
    """Loads the mobile stylizer from Magenta's two TensorFlow Lite files.

    Args:
        weights: the folder of the files; a `.safetensors` file of `Stylizer.save`; or None, which
            takes the published files, from Kaggle Models where kagglehub is installed, else from
            TF Hub. Both cache them.

    Raises:
        ValueError: a file is missing, damaged, or not the one of `SHA256`.
        OSError: the published files could not be fetched; the message says what was tried.
    """
    with float32_policy():
        style, transfer = mobilenet_style_network(), patch_transfer_network(TRANSFER_WIDTH)
    source = None if weights is None else str(weights)
    if source and source.endswith(".safetensors"):
        load_weights(source, "magenta-mobile", (style, transfer))
        return _stylizer(style, transfer, source)
    if source is None:
        style_file, transfer_file = (_fetch(kind) for kind in ("prediction", "transfer"))
    else:
        style_file, transfer_file = (pathlib.Path(source, file).expanduser() for file in SHA256)
    style_constants = read_tflite_constants(style_file, SHA256[STYLE_FILE])
    transfer_constants = read_tflite_constants(transfer_file, SHA256[TRANSFER_FILE])
    set_named_weights(style, _style_weights(style_constants))
    set_named_weights(transfer, _transfer_weights(transfer_constants))
    return _stylizer(style, transfer, source)


def _stylizer(style: keras.Model, transfer: keras.Model, source: str | None) -> Stylizer:
    return Stylizer(
        "magenta-mobile",
        style,
        transfer,
        STYLE_SIZE,
        source=source,
        float32_layers=FLOAT32_LAYERS,
    )


def _fetch(kind: str) -> pathlib.Path:
    """Returns the published TensorFlow Lite file of F ("prediction") or of T ("transfer")."""
    if not kaggle.is_installed():
        sha256 = SHA256[STYLE_FILE if kind == "prediction" else TRANSFER_FILE]
        return hub.fetch_file(f"{TF_HUB}{kind}/1", "lite-format=tflite", sha256, REMEDY)
    folder = kaggle.fetch(f"{KAGGLE_HANDLE}-{kind}/1", REMEDY)
    files = sorted(folder.rglob("*.tflite"))
    if len(files) != 1:
        raise UserError(f"{folder} has {len(files)} TensorFlow Lite files; expected one. {REMEDY}")
    return files[0]


def _style_weights(constants: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames `MobilenetV2/<block>/<part>/weights` to weights of `mobilenet_style_network`."""
    weights = {}
    for name, array in constants.items():
        if name.startswith("mobilenet_conv/Conv/"):
            layer = "code"
            array = array.reshape(array.shape[-2:]) if array.ndim == 4 else array
        else:
            layer = ".".join(name.removeprefix("MobilenetV2/").split("/")[:-1])
        weights[f"{layer}/{'bias' if name.endswith('_bias') else 'kernel'}"] = array
    return weights


def _transfer_weights(constants: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames constants in Magenta's scopes to weights of `patch_transfer_network`."""
    weights = {}
    for name, array in constants.items():
        *scope, last = name.split("/")
        part = "bias" if last.endswith("_bias") else "kernel"
        if scope[0] == "style_params":  # style_params/transformer/<layer>/StyleNorm/Conv[_1]
            head = {"Conv": "beta", "Conv_1": "gamma"}[scope.pop()]
            array = array.reshape(array.shape[-2:]) if array.ndim == 4 else array
            weights[f"{'.'.join(scope[2:])}/{head}_{part}"] = array
        elif part == "kernel" or scope[1] == "contract":
            # Other convolutions are followed by StyleNorm, which takes any bias away again.
            weights[f"{'.'.join(scope[1:])}/{part}"] = array
    return weights
