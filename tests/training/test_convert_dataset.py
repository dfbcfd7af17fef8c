"""Datasets written to class folders: every image, in its class and its split, as it was stored."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sassl_tf.datasets import load_dataset
from tests.datasets.test_tfds import IMAGES, labelled, store
from training.convert_dataset import packed_examples, write_folders


def jpeg(image):
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture
def pack(tmp_path):
    columns = {"class_names": np.array(["dog", "cat"])}
    for split, images in (("train", IMAGES[:8]), ("test", IMAGES[8:])):
        files = [jpeg(image) for image in images]
        columns[f"jpeg_{split}"] = np.frombuffer(b"".join(files), np.uint8)
        columns[f"offsets_{split}"] = np.cumsum([0, *map(len, files)])
        columns[f"y_{split}"] = np.arange(len(images)) % 2
    np.savez(tmp_path / "pack.npz", **columns)
    return tmp_path / "pack.npz"


def run(*flags):
    command = [sys.executable, "-m", "training.convert_dataset", *flags]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_pack(pack, tmp_path, monkeypatch):
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path / "cache"))
    done = run(f"--source={pack}", f"--output={tmp_path / 'out'}")
    assert f"12 images. Use them as folder:{tmp_path / 'out'}" in done.stdout, done.stderr
    train = load_dataset(f"folder:{tmp_path / 'out'}", "train")
    test = load_dataset(f"folder:{tmp_path / 'out'}", "test")
    assert train.class_names == ["cat", "dog"] and (len(train), len(test)) == (8, 4)
    # By class, then in the order of the pack: its odd images are cats.
    order = [1, 3, 5, 7, 0, 2, 4, 6]
    assert train.labels.tolist() == [0] * 4 + [1] * 4
    for position, number in enumerate(order):
        expected = np.asarray(Image.open(io.BytesIO(jpeg(IMAGES[number]))))
        np.testing.assert_array_equal(train.image(position), expected)


def test_a_dataset_of_tfds(tmp_path, monkeypatch):
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path / "cache"))
    splits = {
        "train": labelled(IMAGES[:6], [0, 1, 2, 0, 1, 2]),
        "validation": labelled(IMAGES[6:9], [2, 1, 0]),
        "test": labelled(IMAGES[9:], [-1, -1, -1]),  # without labels: left out
    }
    store(tmp_path, "insects", splits, image="image", label="label")
    done = run("--source=tfds:insects", f"--data_dir={tmp_path}", f"--output={tmp_path / 'out'}")
    assert "9 images" in done.stdout, done.stderr
    for split in ("train", "test"):
        folders = load_dataset(f"folder:{tmp_path / 'out'}", split)
        stored = load_dataset("tfds:insects", split, data_dir=tmp_path)
        order = np.argsort(stored.labels, kind="stable")
        assert folders.class_names == stored.class_names
        for position, number in enumerate(order):
            np.testing.assert_array_equal(folders.image(position), stored.image(number))


def test_a_name_with_a_slash_is_one_folder(tmp_path):
    assert write_folders([("train", "/a/abbey", jpeg(IMAGES[0]))], tmp_path / "out") == 1
    assert (tmp_path / "out" / "train" / "a_abbey" / "00000000.jpg").is_file()


def test_nothing_is_left_of_what_fails(pack, tmp_path):
    good = [("train", "a", jpeg(IMAGES[0]))]
    with pytest.raises(ValueError, match=r"Image 1 \(validation, b\) is not a JPEG, PNG"):
        write_folders([*good, ("validation", "b", b"text")], tmp_path / "out")
    with pytest.raises(ValueError, match="no labelled images"):
        write_folders([], tmp_path / "out")
    for name in ("a_b", "..", ".hidden", "/"):
        examples = [("train", "a/b", good[0][2]), ("train", name, good[0][2])]
        with pytest.raises(ValueError, match=f"class '{name}' cannot have a folder"):
            write_folders(examples, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["pack.npz"]
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="exists already"):
        write_folders(good, tmp_path / "out")
    np.savez(tmp_path / "other.npz", images=IMAGES)
    for file in (tmp_path / "other.npz", tmp_path / "missing.npz", tmp_path / "out"):
        with pytest.raises(ValueError, match="not a pack of images"):
            list(packed_examples(file))
    columns = dict(np.load(pack))
    for changed, message in (
        ({"y_train": np.arange(8)}, "labels are from 0 to 7"),
        ({"offsets_test": columns["offsets_test"][1:]}, "expected one offset more than labels"),
    ):
        np.savez(tmp_path / "other.npz", **{**columns, **changed})
        with pytest.raises(ValueError, match=message):
            list(packed_examples(tmp_path / "other.npz"))
    np.savez(tmp_path / "other.npz", **{**columns, "y_train": np.array([0, 1, -1] + [1] * 5)})
    assert len(list(packed_examples(tmp_path / "other.npz"))) == 11  # one has no label
    assert "expected tfds:NAME or a .npz file" in run("--source=x", "--output=y").stderr
