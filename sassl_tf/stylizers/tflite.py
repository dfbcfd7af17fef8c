"""A reader of the constants of a TensorFlow Lite file."""

import hashlib
import pathlib
import warnings
from typing import Any

import numpy as np

from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike


def read_tflite_constants(path: PathLike, sha256: str) -> dict[str, np.ndarray]:
    """Returns `{name: float32 array}` of a `.tflite` file's weights and biases, dequantized.

    Convolution kernels come in TensorFlow's layout [h, w, in, out], depthwise ones as
    [h, w, channels, 1].

    The format has no checksum, and its parser is not made for untrusted files. So the content has
    to be the expected one, by its hash, before it is parsed.

    Args:
        path: the file.
        sha256: of the file, in hexadecimal digits.

    Raises:
        ValueError: the file is not there, is no TensorFlow Lite model, or another one.
    """
    import tensorflow as tf

    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"{path} is not there: expected a TensorFlow Lite file.")
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise UserError(f"{path} is no TensorFlow Lite model (of {len(content)} bytes).")
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise UserError(
            f"{path} is not the file that Magenta published: it is damaged, or another model. "
            f"Expected the SHA-256 {sha256}, found {actual}. Fetch it again; weights of your own "
            "are read as the .safetensors file of Stylizer.save."
        )
    with warnings.catch_warnings():  # it warns of its move to another package
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(model_content=content)
    constants = {}
    for detail in interpreter.get_tensor_details():
        name = detail["name"]
        # Names of kernels and biases; everything else is an activation or a shape.
        if name.endswith(("weights", "weights/read", "_bias")):
            array = _dequantize(interpreter.get_tensor(detail["index"]), detail)
            constants[name.removesuffix("/read")] = _tensorflow_layout(array)
    return constants


def _dequantize(array: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """Computes scale · (q - zero point), by tensor or along the tensor's quantized dimension."""
    parameters = detail["quantization_parameters"]
    scales, zero_points = parameters["scales"], parameters["zero_points"]
    if not len(scales):
        return array.astype(np.float32)
    # TensorFlow 2.20 gives one zero point for all scales, 2.21 one for each.
    zero_points = np.broadcast_to(zero_points, scales.shape)
    shape = [1] * array.ndim
    if len(scales) > 1:
        shape[parameters["quantized_dimension"]] = len(scales)
    difference = array.astype(np.float32) - zero_points.reshape(shape)
    return (difference * scales.reshape(shape)).astype(np.float32)


def _tensorflow_layout(array: np.ndarray) -> np.ndarray:
    if array.ndim != 4:
        return array
    # [1, h, w, channels] -> [h, w, channels, 1] for depthwise kernels, else
    # [out, h, w, in] -> [h, w, in, out]: the same permutation.
    return array.transpose(1, 2, 3, 0)
