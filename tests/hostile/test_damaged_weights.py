"""Weights with bytes that are not the original's: formats without a checksum load them."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import sassl_tf
from sassl_tf.stylizers import compact
from sassl_tf.stylizers.mobile import SHA256, STYLE_FILE, TRANSFER_FILE
from sassl_tf.stylizers.weights_file import CHECKSUM


def zero(path, count=200):
    """Zeroes bytes in the midst of a file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    assert any(content[middle : middle + count])
    content[middle : middle + count] = bytes(count)
    path.write_bytes(content)


@pytest.mark.parametrize("name", [STYLE_FILE, TRANSFER_FILE])
def test_tflite_files_with_zeroed_bytes(magenta_folder, tmp_path, name):
    for file in (STYLE_FILE, TRANSFER_FILE):
        shutil.copy(magenta_folder / file, tmp_path / file)
    zero(tmp_path / name)
    with pytest.raises(ValueError, match="damaged, or another model") as error:
        sassl_tf.load_stylizer("magenta-mobile", tmp_path)
    assert str(tmp_path / name) in str(error.value) and SHA256[name] in str(error.value)


def test_our_own_file_with_zeroed_bytes(tmp_path):
    path = tmp_path / "compact.safetensors"
    stylizer = sassl_tf.load_stylizer("compact")
    stylizer.save(path)
    assert sassl_tf.load_stylizer("compact", path).fingerprint == stylizer.fingerprint
    zero(path)
    with pytest.raises(ValueError, match="its weights are not those that were saved") as error:
        sassl_tf.load_stylizer("compact", path)
    assert str(path) in str(error.value) and CHECKSUM in str(error.value)


def test_weights_of_the_users_own_without_a_checksum(tmp_path):
    path = tmp_path / "own.safetensors"
    stylizer = sassl_tf.load_stylizer("compact")
    stylizer.save(path)
    arrays = load_file(path)
    name = "compact_style_network/code/bias"
    arrays[name] = arrays[name] + np.float32(0.5)
    save_file(arrays, path)  # without our metadata
    assert sassl_tf.load_stylizer("compact", path).fingerprint != stylizer.fingerprint


def test_the_packages_own_weights_with_zeroed_bytes(tmp_path, monkeypatch):
    """Without a path they have to be those of the bank beside them."""
    for name in ("compact.safetensors", "compact_styles.npz"):
        shutil.copy(compact.packaged(name), tmp_path / name)
    monkeypatch.setattr(compact, "packaged", lambda name: tmp_path / name)
    load = compact._packaged_stylizer.__wrapped__  # not the one that is loaded already
    monkeypatch.setattr(compact, "_packaged_stylizer", load)
    assert sassl_tf.load_stylizer("compact")
    path = tmp_path / "compact.safetensors"
    zero(path)
    with pytest.raises(ValueError, match="damaged") as error:
        sassl_tf.load_stylizer("compact")
    assert str(path) in str(error.value)
