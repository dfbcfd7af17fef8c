"""The kNN evaluation as a function and as a command."""

import json

import pytest

from evaluation import knn
from evaluation.subject import load_subject
from sassl_tf.checked import read_json
from tests import commands
from tests.evaluation.tiny import tiny_encoder, write_class_folders


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A pretraining workdir, with a dataset of class folders in it."""
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path / "cache"))
    write_class_folders(tmp_path / "data")
    tiny_encoder().save(tmp_path / "encoder.keras")
    (tmp_path / "config.json").write_text(json.dumps({"image_size": 16}))
    return tmp_path


def test_evaluate_writes_the_result_into_the_encoders_workdir(workdir):
    subject = load_subject(workdir, f"folder:{workdir / 'data'}")
    result = knn.run(subject, knn.Settings())
    assert (result["accuracy"], result["k"], result["image_size"]) == (1.0, 20, 16)
    [file] = workdir.glob("knn-folder-*.json")
    assert read_json(file) == result


def test_the_binary_prints_the_result(workdir):
    flags = [f"--encoder={workdir}", f"--dataset=folder:{workdir / 'data'}", "--k=5"]
    done = commands.run("evaluation.knn", *flags, "--temperature=0.07", "--batch_size=7")
    assert "accuracy 100.00%" in done.stdout
    assert "k 5, temperature 0.07; 30 train images, 12 test images" in done.stdout
    assert "--batch_size is called --extract_batch_size now" in done.stderr
