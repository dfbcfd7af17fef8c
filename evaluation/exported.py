"""Exported encoders in their own runtimes: images to features."""

import importlib.util

import numpy as np

from sassl_tf.typing import PathLike

# The package that runs each format.
RUNTIMES = {
    "saved_model": "tensorflow",
    "onnx": "onnxruntime",
    "litert": "ai-edge-litert",
    "openvino": "openvino",
}


def missing_runtime(format: str) -> bool:
    """Returns whether the runtime of a format, one of `RUNTIMES`, is not installed."""
    return importlib.util.find_spec(RUNTIMES[format].replace("-", "_")) is None


def features(path: PathLike, format: str, images: np.ndarray) -> np.ndarray:
    """Computes the features of images by an exported encoder.

    Args:
        path: the file or folder that `evaluation.export_encoder` wrote.
        format: one of `RUNTIMES`.
        images: float32 [B, H, W, 3] in [0, 1].

    Returns:
        float32 [B, D].
    """
    return _RUN[format](str(path), images)


def _saved_model(path, images):
    import tensorflow as tf

    model = tf.saved_model.load(
        path
    )  # kept as long as its function is in use: it has the variables
    return model.serve(images).numpy()


def _onnx(path, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def _litert(path, images):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(path).get_signature_runner()
    [name] = run.get_input_details()
    [features] = run(**{name: images}).values()
    return features


def _openvino(path, images):
    import openvino

    # Without the hint, processors with bfloat16 units compute in bfloat16.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(path, "CPU", exact)(images)[0]


_RUN = {"saved_model": _saved_model, "onnx": _onnx, "litert": _litert, "openvino": _openvino}
