"""Exported encoders, each in its own runtime, against Keras."""

import json
import re
import sys

import keras
import numpy as np
import pytest

from evaluation import exported
from evaluation.export_encoder import SUFFIXES, TOLERANCE, export_encoder, in_float32
from tests import commands
from tests.evaluation.tiny import tiny_encoder
from training.encoders import build_encoder

FORMATS = [*SUFFIXES]


def with_statistics(encoder):
    """With moving statistics that are not 0 and 1, as after a training."""
    rng = np.random.default_rng(0)
    for weight in encoder.weights:
        if "moving_mean" in weight.path:
            weight.assign(rng.normal(0, 0.1, weight.shape))
        if "moving_variance" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The path of a ResNet, and its features of images of another number and side."""
    folder = tmp_path_factory.mktemp("encoder")
    keras.utils.set_random_seed(0)
    made = with_statistics(build_encoder("resnet6_slim", width=0.25))
    made.save(folder / "encoder.keras")
    (folder / "config.json").write_text(json.dumps({"image_size": 32}))
    images = np.random.default_rng(1).random((2, 40, 48, 3), np.float32)
    return folder / "encoder.keras", images, np.asarray(made(images))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The path of an encoder of few layers, which is exported quickly."""
    path = tmp_path_factory.mktemp("small") / "encoder.keras"
    tiny_encoder().save(path)
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_a_runtime_gives_the_features_of_keras(encoder, tmp_path, format):
    if exported.missing_runtime(format):
        pytest.skip(f"{exported.RUNTIMES[format]} is not installed (an extra of setup.py)")
    path, images, expected = encoder
    output = tmp_path / f"out{SUFFIXES[format]}"
    assert export_encoder(path, output, format) < 1e-5
    features = exported.features(output, format, images)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())
    assert all(file.stem == "out" for file in tmp_path.iterdir())  # and no leftovers
    with pytest.raises(ValueError, match="is there already"):
        export_encoder(path, output, format)


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_a_vision_transformer_is_exported(tmp_path, format):
    if exported.missing_runtime(format):
        pytest.skip(f"{exported.RUNTIMES[format]} is not installed (an extra of setup.py)")
    made = build_encoder("vit_micro8", image_size=32)
    made.save(tmp_path / "encoder.keras")
    output = tmp_path / f"out{SUFFIXES[format]}"
    assert export_encoder(tmp_path / "encoder.keras", output, format) < 1e-5
    images = np.random.default_rng(1).random((3, 48, 40, 3), np.float32)  # with other positions
    np.testing.assert_allclose(exported.features(output, format, images), made(images), atol=1e-5)


def test_sides_can_be_fixed(small, tmp_path):
    if exported.missing_runtime("onnx"):
        pytest.skip("onnxruntime is not installed (an extra of setup.py)")
    import onnx

    export_encoder(small, tmp_path / "fixed.onnx", "onnx", image_size=32)
    [images] = onnx.load(tmp_path / "fixed.onnx").graph.input
    sides = [dimension.dim_value for dimension in images.type.tensor_type.shape.dim]
    assert sides == [0, 32, 32, 3]  # 0: the number of images is free


def test_a_mixed_precision_encoder_is_exported_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = tiny_encoder()
    finally:
        keras.config.set_dtype_policy("float32")
    copy = in_float32(mixed)
    assert {layer.compute_dtype for layer in copy._flatten_layers()} == {"float32"}
    images = np.random.default_rng(1).random((2, 24, 24, 3), np.float32)
    expected = np.asarray(mixed(images))
    difference = np.abs(np.asarray(copy(images)) - expected).max()
    assert 0 < difference < 0.02 * np.abs(expected).max()  # bfloat16 has three digits
    assert in_float32(copy) is copy


def test_the_command_says_how_well_they_agree(small, tmp_path):
    done = commands.run(
        "evaluation.export_encoder", f"--encoder={small}", f"--output={tmp_path / 'model'}"
    )
    assert done.returncode == 0, done.stderr
    told = re.search(
        r"tensorflow [\d.]+ gives Keras's features, to (\S+) of the largest", done.stdout
    )
    assert float(told[1]) < TOLERANCE


def test_features_that_differ_are_not_written(small, tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "features", lambda *_: np.ones((3, 6), np.float32))
    with pytest.raises(ValueError, match=r"differ from those of Keras by .*; nothing is written"):
        export_encoder(small, tmp_path / "model")
    assert not [*tmp_path.iterdir()]


def test_wrong_outputs_and_missing_packages_are_told(small, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"'a.bin'; give a name that ends with .onnx"):
        export_encoder(small, "a.bin", "onnx")
    with pytest.raises(ValueError, match="the formats are saved_model, onnx, litert, openvino"):
        export_encoder(small, "a", "caffe")
    monkeypatch.setitem(sys.modules, "openvino", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"pip install '\.\[openvino\]'"):
        export_encoder(small, tmp_path / "a.xml", "openvino")
