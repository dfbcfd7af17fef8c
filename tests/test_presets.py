"""Presets: written, read, and through stand-ins of the packages that up- and download them."""

import inspect
import json
import operator
import os
import shutil
import sys
import types

import keras
import numpy as np
import pytest

import sassl_tf
from sassl_tf.checked import read_json
from sassl_tf.presets import FILES
from tests.evaluation.tiny import tiny_encoder


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "tiny"
    sassl_tf.save_to_preset(tiny_encoder(), folder, {"image_size": 40}, {"a": 1}, "# Tiny\n")
    return folder


class Hub(types.ModuleType):
    """In the place of `huggingface_hub` and `kagglehub`; it has one preset, and keeps the calls."""

    def __init__(self, name, preset):
        super().__init__(name)
        self.preset, self.calls, self.broken = preset, [], None

    def _called(self, name, *args, **kwargs):
        self.calls.append((name, args, kwargs))
        if self.broken:
            raise self.broken
        return str(self.preset)

    def __getattr__(self, name):
        if name == "HfApi":
            return lambda: self
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._called(name, *args, **kwargs)


@pytest.fixture(params=["huggingface_hub", "kagglehub"])
def hub(request, preset, monkeypatch):
    made = Hub(request.param, preset)
    monkeypatch.setitem(sys.modules, request.param, made)
    made.uri = "hf://owner/name" if made.__name__ == "huggingface_hub" else "kaggle://o/m/keras/v"
    return made


def check_is_tiny(encoder):
    for weight, expected in zip(encoder.get_weights(), tiny_encoder().get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_a_preset_is_read_as_it_was_written(preset):
    assert {file.name for file in preset.iterdir()} == {*FILES}
    check_is_tiny(sassl_tf.load_encoder(preset))
    assert read_json(preset / "config.json") == {"image_size": 40}
    assert read_json(preset / "metrics.json") == {"a": 1}
    assert (preset / "README.md").read_text() == "# Tiny\n"


def test_a_preset_of_a_file_is_a_copy_of_it(preset, tmp_path):
    sassl_tf.save_to_preset(preset, tmp_path / "copy")
    assert {file.name for file in (tmp_path / "copy").iterdir()} == {*FILES}
    files = (folder / "encoder.keras" for folder in (preset, tmp_path / "copy"))
    assert len({file.read_bytes() for file in files}) == 1
    with pytest.raises(ValueError, match="is there already"):
        sassl_tf.save_to_preset(preset, tmp_path / "copy")


def test_what_is_no_encoder_becomes_no_preset(tmp_path):
    maps = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match="pooled"):
        sassl_tf.save_to_preset(maps, tmp_path / "maps")
    assert not [*tmp_path.iterdir()]


def test_models_without_defined_inputs_are_no_encoders(tmp_path):
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    for model in (Subclassed(), keras.Sequential([keras.layers.Dense(2)])):
        with pytest.raises(ValueError, match="maps unknown shapes to unknown shapes"):
            sassl_tf.save_to_preset(model, tmp_path / "preset")


def test_a_preset_is_downloaded_and_uploaded(hub, preset):
    check_is_tiny(sassl_tf.load_encoder(hub.uri))
    sassl_tf.upload_preset(hub.uri, preset)
    names = [name for name, _, _ in hub.calls]
    if hub.uri.startswith("hf"):
        assert names == ["snapshot_download", "create_repo", "upload_folder"]
        assert hub.calls[2][2]["folder_path"] == str(preset)
    else:
        assert names == ["model_download", "model_upload"]
        assert hub.calls[1][1][0] == "o/m/keras/v"


def test_nothing_but_the_preset_is_uploaded_to_kaggle(preset, tmp_path, monkeypatch):
    """Evaluations write results beside it, with the folders of this machine in them."""
    hub, sent = Hub("kagglehub", preset), []
    hub.model_upload = lambda handle, folder: sent.extend(os.listdir(folder))
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    shutil.copytree(preset, tmp_path / "copy")
    (tmp_path / "copy" / "knn-shapes.json").write_text("{}")
    sassl_tf.upload_preset("kaggle://o/m/keras/v", tmp_path / "copy")
    assert {*sent} == {*FILES}


def test_a_config_that_was_read_by_other_means_is_a_config(preset, tmp_path):
    config = json.loads((preset / "config.json").read_text())
    assert "checksum" in config
    sassl_tf.save_to_preset(preset, tmp_path / "copy", config)
    assert read_json(tmp_path / "copy" / "config.json") == {"image_size": 40}


def test_files_of_other_formats_are_not_read(tmp_path):
    (tmp_path / "model.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"model\.h5; expected a \.keras file"):
        sassl_tf.load_encoder(tmp_path / "model.h5")


def test_a_revision_is_asked_for(preset, monkeypatch):
    hub = Hub("huggingface_hub", preset)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    sassl_tf.load_encoder("hf://owner/name@v2")
    sassl_tf.load_encoder("hf://owner/name@refs/pr/1")
    [(_, args, kwargs), (_, others, more)] = hub.calls
    assert args == others == ("owner/name",)
    assert (kwargs["revision"], more["revision"]) == ("v2", "refs/pr/1")
    for uri in ("hf://owner/name@v2", "kaggle://o/m/keras/v/3"):
        monkeypatch.setitem(sys.modules, "kagglehub", hub)
        with pytest.raises(ValueError, match="expected no revision or version"):
            sassl_tf.upload_preset(uri, preset)


@pytest.mark.parametrize(
    ("package", "functions", "uri"),
    [
        (
            "huggingface_hub",
            ["snapshot_download", "HfApi.create_repo", "HfApi.upload_folder"],
            "hf://a/b",
        ),
        ("kagglehub", ["model_download", "model_upload"], "kaggle://a/b/keras/c"),
    ],
)
def test_the_real_packages_take_these_calls(package, functions, uri, preset, monkeypatch):
    """Without a network: our arguments fit the functions that the packages have now."""
    real = pytest.importorskip(package)
    find = {name.rpartition(".")[2]: operator.attrgetter(name)(real) for name in functions}
    hub = Hub(package, preset)
    monkeypatch.setitem(sys.modules, package, hub)
    sassl_tf.load_encoder(uri)
    sassl_tf.upload_preset(uri, preset)
    assert [name for name, _, _ in hub.calls] == [*find]
    for name, args, kwargs in hub.calls:
        itself = [None] if f"HfApi.{name}" in functions else []
        inspect.signature(find[name]).bind(*itself, *args, **kwargs)


def test_a_connection_that_fails_is_told(hub, preset):
    hub.broken = OSError("no route to host\nmore lines")
    with pytest.raises(ConnectionError, match=r"could not be fetched .OSError: no route to host"):
        sassl_tf.load_encoder(hub.uri)
    with pytest.raises(ConnectionError, match=r"could not be uploaded to .*Log in by"):
        sassl_tf.upload_preset(hub.uri, preset)


def test_a_repository_without_an_encoder_is_told(hub, tmp_path):
    hub.preset = tmp_path
    with pytest.raises(ValueError, match=r"holds no encoder\.keras: it is no preset"):
        sassl_tf.load_encoder(hub.uri)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[huggingface\]'"):
        sassl_tf.load_encoder("hf://owner/name")


@pytest.mark.parametrize("uri", ["hf://owner", "kaggle://a/b", "hf://a/"])
def test_other_names_are_refused(uri, preset):
    with pytest.raises(ValueError, match=r"expected a folder, hf://owner/name or kaggle://"):
        sassl_tf.load_encoder(uri)
    with pytest.raises(ValueError, match="expected a folder"):
        sassl_tf.upload_preset(uri, preset)


def test_a_folder_that_is_no_preset_is_not_uploaded(preset, tmp_path):
    shutil.copytree(preset, tmp_path / "part")
    (tmp_path / "part" / "README.md").unlink()
    with pytest.raises(ValueError, match=r"it lacks README\.md"):
        sassl_tf.upload_preset("hf://owner/name", tmp_path / "part")


def test_a_preset_evaluates_at_its_image_size(preset, hub):
    from evaluation.encoders import default_image_size, workdir_of

    for source in (preset, hub.uri):
        assert default_image_size(source, tiny_encoder()) == 40
    assert workdir_of(hub.uri) is None


@pytest.mark.parametrize("content", [{"image_size": "64"}, {"image_size": 0}, ["image_size"]])
def test_a_config_of_a_stranger_is_checked(preset, tmp_path, content):
    from evaluation.encoders import default_image_size

    shutil.copytree(preset, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="expected a whole number of pixels"):
        default_image_size(tmp_path / "copy", tiny_encoder())
