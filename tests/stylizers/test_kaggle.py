"""Models through kagglehub, of which there is a stand-in here that has them already."""

import sys
import types

import numpy as np
import pytest
import tensorflow as tf

import sassl_tf
from sassl_tf.stylizers import hub, kaggle, magenta_sources, mobile


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def kagglehub(monkeypatch):
    """`kagglehub.models` is {handle: folder}; `kagglehub.asked` what was downloaded."""
    module = types.ModuleType("kagglehub")
    module.models, module.asked = {}, []

    def model_download(handle):
        module.asked.append(handle)
        if handle not in module.models:
            raise OSError("no route to host\nmore lines")
        return str(module.models[handle])

    module.model_download = model_download
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    monkeypatch.setattr(kaggle, "is_installed", lambda: True)
    return module


@pytest.fixture
def unread(monkeypatch):
    """Folders of models are given back with their source; test_magenta.py has them read."""
    monkeypatch.setattr(magenta_sources, "_from_saved_model", lambda *found: found)


def test_magenta_comes_from_kaggle_where_kagglehub_is(kagglehub, unread, tmp_path):
    handle = magenta_sources.KAGGLE_HANDLE
    kagglehub.models[handle] = tmp_path
    assert sassl_tf.load_stylizer("magenta") == (tmp_path, handle)
    assert sassl_tf.load_stylizer("magenta", handle) == (tmp_path, handle)
    assert kagglehub.asked == [handle] * 2


def test_tf_hubs_cache_comes_first(kagglehub, unread):
    folder = hub._cache_folder(magenta_sources.HANDLE)
    tf.saved_model.save(tf.Module(), str(folder))
    assert sassl_tf.load_stylizer("magenta") == (folder, magenta_sources.HANDLE)
    assert not kagglehub.asked


def test_mobile_comes_from_kaggle(kagglehub, magenta_folder, tmp_path):
    for kind, name in (("prediction", mobile.STYLE_FILE), ("transfer", mobile.TRANSFER_FILE)):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "1.tflite").write_bytes((magenta_folder / name).read_bytes())
        kagglehub.models[f"{mobile.KAGGLE_HANDLE}-{kind}/1"] = folder
    stylizer = sassl_tf.load_stylizer("magenta-mobile")
    local = sassl_tf.load_stylizer("magenta-mobile", magenta_folder)
    assert stylizer.fingerprint == local.fingerprint and stylizer.source is None


def test_mobile_comes_from_tf_hub_without_kagglehub(monkeypatch, magenta_folder):
    monkeypatch.setattr(kaggle, "is_installed", lambda: False)
    asked = []

    def fetch_file(url, query, sha256, remedy):
        asked.append(f"{url}?{query}")
        name = mobile.STYLE_FILE if "prediction" in url else mobile.TRANSFER_FILE
        assert sha256 == mobile.SHA256[name]
        return magenta_folder / name

    monkeypatch.setattr(hub, "fetch_file", fetch_file)
    codes = sassl_tf.load_stylizer("magenta-mobile").encode_style(np.ones((1, 64, 64, 3)))
    assert codes.shape == (1, 100)
    assert asked == [f"{mobile.TF_HUB}{k}/1?lite-format=tflite" for k in ("prediction", "transfer")]


@pytest.mark.parametrize("name", ["magenta", "magenta-mobile"])
def test_a_download_that_fails_says_what_to_do(kagglehub, name):
    with pytest.raises(
        ConnectionError, match=r"OSError: no route to host.*weights=FOLDER"
    ) as error:
        sassl_tf.load_stylizer(name)
    assert "more lines" not in str(error.value)


def test_a_folder_without_the_file_is_told(kagglehub, tmp_path):
    kagglehub.models[f"{mobile.KAGGLE_HANDLE}-prediction/1"] = tmp_path
    with pytest.raises(ValueError, match="has 0 TensorFlow Lite files; expected one"):
        sassl_tf.load_stylizer("magenta-mobile")
