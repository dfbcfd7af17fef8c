"""What an evaluation needs of a dataset, and what several trials come to."""

import shutil

import numpy as np
import pytest

from evaluation.frozen import labelled_splits, over_trials, with_spread
from tests.evaluation.tiny import write_class_folders


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


def test_mean_and_spread_of_trials():
    found = [{"accuracy": a, "kappa": a - 1} for a in (0.5, 0.7, 0.9)]
    outcome = over_trials(found)
    assert outcome["accuracy"] == pytest.approx(0.7) and outcome["kappa"] == pytest.approx(-0.3)
    assert outcome["std"]["accuracy"] == pytest.approx(np.std([0.5, 0.7, 0.9], ddof=1))
    assert outcome["values"]["accuracy"] == [0.5, 0.7, 0.9] and outcome["trials"] == 3
    assert with_spread(outcome) == "70.00% ± 20.00%"
    assert over_trials(found[:1])["std"] == {"accuracy": None, "kappa": None}
    assert with_spread(over_trials(found[:1])) == "50.00%"
