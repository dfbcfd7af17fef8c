"""A `.keras` file of a stranger, loaded in Keras's safe mode: no network, no model run, no path."""

import http.server
import json
import pathlib
import threading
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import sassl_tf
from sassl_tf import SASSLAugmentation, StyleBank
from sassl_tf.stylizers import hub, stylizer_from_config
from sassl_tf.stylizers.saved_model import listed_variables

UNKNOWN = "0" * 16  # a fingerprint that nobody has


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.keras"
    keras.Sequential([keras.Input((32, 32, 3)), SASSLAugmentation()]).save(path)
    return path


def tampered(saved, path, change):
    """A copy of a saved model, after `change(config of its layer)`."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config["config"]["layers"][-1]["config"])
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return path


@pytest.fixture
def layer_config(saved):
    """The config of the saved layer, as Keras hands it to `from_config`."""
    with zipfile.ZipFile(saved) as file:
        return json.loads(file.read("config.json"))["config"]["layers"][-1]["config"]


def magenta_at(weights):
    return {"name": "magenta", "weights": weights, "fingerprint": UNKNOWN}


@pytest.fixture
def server():
    """Its address, and the requests that came."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}", requests
    listening.shutdown()
    listening.server_close()


class Canary(tf.saved_model.experimental.TrackableResource):
    """Writes a file when the SavedModel that holds it is loaded."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def _create_resource(self):
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    def _initialize(self):
        tf.io.write_file(self.path, "it ran")


@pytest.fixture(scope="module")
def trap(tmp_path_factory):
    """A SavedModel that runs on loading, and the file that it then writes."""
    folder = tmp_path_factory.mktemp("trap")
    file = folder / "it_ran"
    module = tf.Module()
    module.canary = Canary(str(file))
    module.variables_ = [tf.Variable(np.float32([1, 2]), name="first")]
    plain = tf.train.Checkpoint(variables=module.variables_, canary=module.canary)
    tf.saved_model.save(plain, str(folder / "model"))
    file.unlink(missing_ok=True)
    return folder / "model", file


def test_no_request_is_made(saved, server, tmp_path):
    address, requests = server
    path = tmp_path / "model.keras"
    tampered(saved, path, lambda c: c.update(stylizer=magenta_at(f"{address}/model")))
    with pytest.raises(ValueError, match="make the stylizer first, with load_stylizer"):
        keras.models.load_model(path)
    assert requests == []
    with pytest.raises(OSError):  # the same address, asked for by the user
        sassl_tf.load_stylizer("magenta", f"{address}/model")
    assert requests


@pytest.mark.parametrize(
    "stylizer",
    [
        magenta_at(None),
        magenta_at("google/arbitrary-image-stylization-v1/tensorFlow1/256/2"),
        "magenta",
    ],
)
def test_the_hub_is_not_asked(layer_config, monkeypatch, stylizer):
    monkeypatch.setattr(hub, "fetch", lambda handle: pytest.fail(f"asked for {handle}"))
    with pytest.raises(ValueError, match=r"Make the layer anew|make the stylizer first"):
        SASSLAugmentation.from_config({**layer_config, "stylizer": stylizer})


def test_no_saved_model_is_run(saved, trap, tmp_path):
    folder, file = trap
    tf.saved_model.load(str(folder))
    assert file.exists()  # the trap works
    file.unlink()
    path = tmp_path / "model.keras"
    tampered(saved, path, lambda c: c.update(stylizer=magenta_at(str(folder))))
    with pytest.raises(ValueError, match="opens no weights but"):
        keras.models.load_model(path)
    assert not file.exists()


def test_variables_are_read_without_running(trap):
    folder, file = trap
    file.unlink(missing_ok=True)
    variables = listed_variables(folder)
    np.testing.assert_array_equal(variables["first"], [1, 2])
    assert list(variables) == ["first"]
    with pytest.raises(ValueError, match="are not those of arbitrary-image-stylization"):
        sassl_tf.load_stylizer("magenta", folder)
    assert not file.exists()  # other variables: it is not even tried


@pytest.mark.parametrize(
    "weights",
    [
        "http://example.com/x.safetensors",
        "gs://bucket/x.safetensors",
        "file:///tmp/x.safetensors",
        "//host/share/x.safetensors",
        "\\\\host\\share\\x.safetensors",
        "\\/host/share/x.safetensors",
        "folder",
        "x.keras",
        "x.tflite",
    ],
)
def test_only_local_numbers_are_opened(monkeypatch, weights):
    monkeypatch.setattr(sassl_tf.stylizers, "load_stylizer", lambda *a: pytest.fail(f"opened {a}"))
    for name in ("compact", "magenta", "magenta-mobile"):
        with pytest.raises(ValueError, match="opens no weights but"):
            stylizer_from_config({"name": name, "weights": weights, "fingerprint": UNKNOWN})


def test_a_local_safetensors_file_is_opened_and_its_fingerprint_checked(tmp_path):
    path = tmp_path / "x.safetensors"
    stylizer = sassl_tf.load_stylizer("compact")
    stylizer.save(path)
    config = {"name": "compact", "weights": str(path), "fingerprint": stylizer.fingerprint}
    assert stylizer_from_config(config).fingerprint == stylizer.fingerprint
    with pytest.raises(ValueError, match="its weights have changed"):
        stylizer_from_config({**config, "fingerprint": UNKNOWN})
    with pytest.raises(ValueError, match=r"not at .*nowhere\.safetensors"):
        weights = str(tmp_path / "nowhere.safetensors")
        stylizer_from_config({**config, "weights": weights, "fingerprint": UNKNOWN})


def test_the_tflite_stylizer_is_found_in_memory(magenta_folder):
    mobile = sassl_tf.load_stylizer("magenta-mobile", magenta_folder)
    config = SASSLAugmentation(mobile).get_config()
    assert SASSLAugmentation.from_config(config).stylizer is mobile
    config["stylizer"]["fingerprint"] = UNKNOWN
    with pytest.raises(ValueError, match="is not in memory"):
        SASSLAugmentation.from_config(config)


@pytest.mark.parametrize("styles", ["bank.npz", "/etc/passwd", "//host/share/bank.npz", ""])
def test_no_bank_is_opened(layer_config, monkeypatch, styles):
    monkeypatch.setattr(StyleBank, "load", lambda path: pytest.fail(f"opened {path}"))
    with pytest.raises(ValueError, match="holds the codes of its bank"):
        SASSLAugmentation.from_config({**layer_config, "styles": styles})


BANK = StyleBank(np.zeros((2, 100), np.float32), UNKNOWN).get_config()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("stylizer"), "stylizer is missing"),
        (lambda c: (c.pop("stylizer"), c.pop("styles")), "stylizer is missing, styles is missing"),
        (lambda c: c.update(stylizer=3), "stylizer is a int"),
        (lambda c: c.update(stylizer={}), "name is missing, weights is missing, fingerprint is"),
        (lambda c: c.update(stylizer=magenta_at(["a"])), "weights is a list"),
        (lambda c: c.update(styles=None), "styles is a NoneType"),
        (lambda c: c.update(styles={}), "codes is missing"),
        (lambda c: c.update(styles={**BANK, "codes": "!"}), "not rows of 100 numbers"),
        (lambda c: c.update(styles={**BANK, "codes": "AAAA"}), "not rows of 100 numbers"),
        (lambda c: c.update(styles={**BANK, "code_size": 7}), "not rows of 7 numbers"),
        (lambda c: c.update(styles={**BANK, "codes": ""}), "expected .N, code_size."),
        (lambda c: c.update(styles=BANK), f"fingerprint {UNKNOWN}"),
        (lambda c: c.update(probability=7), "probability is 7"),
        (lambda c: c.update(value_range=None), "value_range is None"),
        (lambda c: c.update(code="print(1)"), "Unrecognized keyword arguments|is damaged"),
    ],
)
def test_a_tampered_config_says_what_is_wrong(layer_config, change, message):
    change(layer_config)
    with pytest.raises(ValueError, match=message):
        SASSLAugmentation.from_config(layer_config)


def test_the_untouched_copy_loads(saved, tmp_path):
    path = tampered(saved, pathlib.Path(tmp_path, "model.keras"), lambda config: None)
    assert isinstance(keras.models.load_model(path).layers[-1], SASSLAugmentation)
