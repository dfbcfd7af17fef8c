"""Encoders from files and workdirs, and what is told of files that hold none."""

import json

import keras
import pytest

from evaluation.encoders import default_image_size, load_encoder, workdir_of
from sassl_tf.representation.features import encoder_fingerprint
from tests.evaluation.tiny import tiny_encoder


def test_an_encoder_loads_from_a_file_and_from_a_workdir(tmp_path):
    encoder = tiny_encoder()
    encoder.save(tmp_path / "encoder.keras")
    (tmp_path / "config.json").write_text(json.dumps({"image_size": 40}))
    for path in (tmp_path, tmp_path / "encoder.keras"):
        loaded = load_encoder(path)
        assert encoder_fingerprint(loaded) == encoder_fingerprint(encoder)
        assert default_image_size(path, loaded) == 40
        assert workdir_of(path) == tmp_path


def test_the_image_size_comes_from_the_encoder_or_is_224(tmp_path):
    assert default_image_size(tmp_path / "some.keras", tiny_encoder(side=24)) == 24
    assert default_image_size(tmp_path / "some.keras", tiny_encoder()) == 224


def test_what_is_no_encoder_is_said(tmp_path):
    with pytest.raises(ValueError, match="no encoder at"):
        load_encoder(tmp_path / "missing.keras")
    with pytest.raises(ValueError, match="no pretraining workdir"):
        load_encoder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="has not written one yet"):
        load_encoder(tmp_path)
    (tmp_path / "encoder.keras").write_bytes(b"no zip file")
    with pytest.raises(ValueError, match="could not be loaded"):
        load_encoder(tmp_path)


def test_a_layer_that_keras_does_not_know_is_named(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Half(keras.layers.Layer):
        def call(self, inputs):
            return inputs / 2

    model = keras.Sequential([keras.Input((8, 8, 3)), Half(), keras.layers.Flatten()])
    model.save(tmp_path / "own.keras")
    load_encoder(tmp_path / "own.keras")
    del keras.saving.get_custom_objects()["tests>Half"]
    with pytest.raises(ValueError, match=r"holds Half, which .* --import_module=MODULE") as error:
        load_encoder(tmp_path / "own.keras")
    assert len(str(error.value)) < 250 + len(str(tmp_path))


def test_an_unpooled_encoder_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    model.save(tmp_path / "maps.keras")
    with pytest.raises(ValueError, match=r"\[None, 6, 6, 2\].*pooled"):
        load_encoder(tmp_path / "maps.keras")
