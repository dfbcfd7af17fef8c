"""The folder of a run belongs to its config, its images and its stylizer."""

import json

import pytest

from sassl_tf.checked import read_json, write_json
from sassl_tf.datasets.shapes import shapes
from sassl_tf.stylizers import stylizer
from training.configs import simclr
from training.engine.assembly import fingerprints
from training.engine.workdir import open_workdir
from training.styles import build_augmentation


def test_a_workdir_belongs_to_its_config(tmp_path):
    config = simclr.get_config("smoke")
    open_workdir(tmp_path / "run", config)
    assert open_workdir(tmp_path / "run", config) == tmp_path / "run"
    written = read_json(tmp_path / "run" / "config.json")
    assert written == json.loads(config.to_json())
    config.views.left.brightness = 0.1
    open_workdir(tmp_path / "run", config)  # no checkpoint yet
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "ckpt-5.index").touch()
    config.views.left.hue = 0.3
    with pytest.raises(ValueError, match=r"views\.left\.hue: there 0\.2, here 0\.3"):
        open_workdir(tmp_path / "run", config)
    config.views.left.hue = 0.2
    with pytest.raises(ValueError, match=r"fingerprints: there '\(absent\)', here"):
        open_workdir(tmp_path / "run", config, {"images": 3})


def test_a_finished_encoder_is_not_trained_over(tmp_path):
    """As `evaluation.study --remove_checkpoints` leaves a run."""
    config = simclr.get_config("smoke")
    open_workdir(tmp_path, config)
    (tmp_path / "encoder.keras").touch()
    with pytest.raises(ValueError, match=r"encoder of a run that is done.*remove encoder\.keras"):
        open_workdir(tmp_path, config)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "ckpt-5.index").touch()
    open_workdir(tmp_path, config)  # with checkpoints, the command says that nothing is left


def begun_run(folder, config, fingerprints):
    open_workdir(folder, config, fingerprints)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "ckpt-5.index").touch()
    return folder


def test_other_images_are_told(tmp_path):
    config = simclr.get_config("smoke")
    begun_run(tmp_path, config, {"images": 12, "listing": "aa"})
    with pytest.raises(ValueError, match=r"images: there 12, here 13(.|\n)*put them back"):
        open_workdir(tmp_path, config, {"images": 13, "listing": "bb"})


def test_a_run_with_another_order_of_the_images_does_not_continue(tmp_path):
    config = simclr.get_config("smoke")
    config.sassl.enabled = False
    current = fingerprints(shapes(count=40), build_augmentation(config))
    assert current["order"] >= 2
    before = {name: value for name, value in current.items() if name != "order"}
    folder = begun_run(tmp_path / "run", config, before)
    with pytest.raises(
        ValueError, match=r"(?s)order: there '\(absent\)', here 2\n.*drawn in another"
    ):
        open_workdir(folder, config, current)
    open_workdir(begun_run(tmp_path / "new", config, current), config, current)


def test_a_run_that_goes_on_needs_the_weights_that_it_started_from_no_more(tmp_path):
    config = simclr.get_config("smoke")
    folder = begun_run(tmp_path / "run", config, {"images": 3, "init_from": "aa"})
    open_workdir(folder, config, {"images": 3})
    kept = read_json(folder / "config.json")["fingerprints"]
    assert kept == {"images": 3, "init_from": "aa"}


def test_another_precision_of_the_stylizer_is_told(tmp_path, capsys, monkeypatch):
    config = simclr.get_config("smoke")
    prints = {}
    for has_it, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(stylizer, "processor_has_bfloat16", lambda has_it=has_it: has_it)
        prints[precision] = fingerprints(shapes(count=40), build_augmentation(config))
        assert prints[precision]["stylizer_precision"] == precision
    folder = begun_run(tmp_path / "run", config, prints["bfloat16"])
    open_workdir(folder, config, prints["bfloat16"])
    assert "precision" not in capsys.readouterr().err
    open_workdir(folder, config, prints["float32"])
    told = capsys.readouterr().err
    assert "begun with a stylizer in bfloat16" in told and "config.sassl.precision" in told
    # A run of a version that did not record it continues without a line.
    unrecorded = {k: v for k, v in prints["float32"].items() if k != "stylizer_precision"}
    open_workdir(begun_run(tmp_path / "old", config, unrecorded), config, prints["bfloat16"])
    assert not capsys.readouterr().err


def test_a_run_of_a_version_with_fewer_fields_goes_on(tmp_path):
    config = simclr.get_config("smoke")
    folder = begun_run(tmp_path / "run", config, {"images": 3})
    old = read_json(folder / "config.json")
    # A section, a section within another, and fields: whatever was added since.
    for name in ("fourier", "encoder.vit", "sassl.blending_factor_end", "optimizer.vector_rate"):
        *sections, field = name.split(".")
        section = old
        for outer in sections:
            section = section[outer]
        del section[field]
    del old["optimizer"]["end_learning_rate"]
    write_json(folder / "config.json", old)
    open_workdir(folder, config, {"images": 3})
    config.optimizer.end_learning_rate = 0.1
    with pytest.raises(ValueError, match=r"end_learning_rate: there 0\.0, here 0\.1"):
        open_workdir(folder, config, {"images": 3})
