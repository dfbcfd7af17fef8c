"""Files that could run code are refused in words that lead nobody to run it."""

import keras
import numpy as np
import pytest

from evaluation.encoders import load_encoder
from sassl_tf import StyleBank
from sassl_tf.refusals import reason
from training.conversion.packs import packed_images

UNSAFE = ("allow_pickle", "safe_mode", "unsafe_deserialization", "pickle.load")


def message_of(read, path):
    with pytest.raises(ValueError) as error:
        read(path)
    assert error.value.__cause__ is None and error.value.__suppress_context__
    return str(error.value)


@pytest.fixture
def pickled(tmp_path):
    """Object arrays, in a form that NumPy would unpickle."""
    path = tmp_path / "objects.npz"
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(path, codes=objects, fingerprint="0", class_names=objects)
    return path


@pytest.mark.parametrize("read", [StyleBank.load, packed_images])
def test_pickles(read, pickled, tmp_path):
    other = tmp_path / "other.npz"
    other.write_bytes(b"\x80\x04K\x01.")  # a bare pickle, which NumPy offers to load
    for path in (pickled, other):
        message = message_of(read, path)
        assert str(path) in message and "pickles can run code" in message
        assert not any(word in message for word in UNSAFE)


def test_code_in_an_encoder(tmp_path):
    path = tmp_path / "encoder.keras"
    layers = [keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: x), keras.layers.Flatten()]
    keras.Sequential(layers).save(path)
    message = message_of(load_encoder, path)
    assert str(path) in message and "it holds code, such as a Lambda layer" in message
    assert not any(word in message for word in UNSAFE)


def test_other_errors_speak_for_themselves():
    assert reason(ValueError("It is short.")) == "It is short"
    assert reason(EOFError()) == "EOFError"
