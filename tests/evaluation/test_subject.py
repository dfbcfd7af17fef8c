"""What an evaluation needs of a dataset, and a subject whose features are computed once."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from evaluation import subject as module
from evaluation.subject import labelled_splits, load_subject
from tests.evaluation.tiny import tiny_encoder, write_class_folders


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path / "cache"))
    write_class_folders(tmp_path / "data")
    return tmp_path / "data"


def test_the_splits_there_are(data):
    assert [split.split for split in labelled_splits(f"folder:{data}")] == ["train", "test"]
    shutil.copytree(data / "test", data / "val")
    names = ["train", "test", "validation"]
    assert [split.split for split in labelled_splits(f"folder:{data}")] == names


def test_a_class_without_train_images_is_named(data):
    shutil.rmtree(data / "train" / "class1")
    with pytest.raises(ValueError, match=r"1 classes of folder:.* no train images \(class1\)"):
        labelled_splits(f"folder:{data}")


def test_a_class_without_test_images_is_told(data, capsys):
    labelled_splits(f"folder:{data}")
    assert "no test images" not in "".join(capsys.readouterr())
    shutil.rmtree(data / "test" / "class1")
    labelled_splits(f"folder:{data}")
    told = "".join(capsys.readouterr())
    assert f"1 of 3 classes of folder:{data} have no test images (class1)" in told


def test_one_class_alone_is_refused(data):
    for split in ("train", "test"):
        for name in ("class0", "class1"):
            shutil.rmtree(data / split / name)
    with pytest.raises(ValueError, match=r"all of one class \(class2\)"):
        labelled_splits(f"folder:{data}")


def test_a_split_that_is_missing(data):
    shutil.rmtree(data / "test")
    with pytest.raises(ValueError, match=r"no test split: it needs a folder named test or val"):
        labelled_splits(f"folder:{data}")


def test_unlabelled_images_are_refused(data):
    for split in ("train", "test"):
        (data / "plain" / split).mkdir(parents=True)
        png = tf.io.encode_png(np.zeros((16, 16, 3), np.uint8)).numpy()
        (data / "plain" / split / "image.png").write_bytes(png)
    with pytest.raises(ValueError, match="have no label"):
        labelled_splits(f"folder:{data / 'plain'}")


@pytest.fixture
def workdir(tmp_path):
    """A pretraining workdir."""
    (tmp_path / "run").mkdir()
    tiny_encoder().save(tmp_path / "run" / "encoder.keras")
    (tmp_path / "run" / "config.json").write_text(json.dumps({"image_size": 16}))
    return tmp_path / "run"


def test_features_are_computed_once(data, workdir, monkeypatch):
    shutil.copytree(data / "test", data / "val")
    extracted = []

    def counting(encoder, dataset, *arguments, **options):
        extracted.append(dataset.split)
        return original(encoder, dataset, *arguments, **options)

    original = module.extract_features
    monkeypatch.setattr(module, "extract_features", counting)
    subject = load_subject(workdir, f"folder:{data}")
    assert extracted == []
    for _ in range(2):
        assert subject.train_features.shape == (30, 6)
        assert subject.validation_features.shape == (12, 6)
        np.testing.assert_allclose(subject.test_features, subject.validation_features, rtol=1e-5)
    assert extracted == ["train", "validation", "test"]
    assert len([*(workdir / "features").iterdir()]) == 3


def test_facts_and_defaults(data, workdir):
    subject = load_subject(workdir, f"folder:{data}", crop_proportion=1.0)
    facts = {"classes": 3, "train_images": 30, "test_images": 12, "validation_images": 0}
    assert facts.items() <= subject.facts.items()
    assert subject.validation is None and subject.validation_features is None
    assert (subject.image_size, subject.crop_proportion, subject.workdir) == (16, 1.0, workdir)
    assert set(subject.facts["dataset_fingerprints"]) == {"train", "test"}
    other = load_subject(workdir, f"folder:{data}", workdir=data, image_size=20)
    assert (other.image_size, other.workdir) == (20, data)
    assert other.facts["encoder_fingerprint"] == subject.facts["encoder_fingerprint"]


def test_an_encoder_that_is_loaded_is_taken(data, workdir, monkeypatch):
    encoder = module.load_encoder(workdir)
    monkeypatch.setattr(module, "load_encoder", None)  # calling it would raise
    assert load_subject(workdir, f"folder:{data}", encoder=encoder).encoder is encoder
