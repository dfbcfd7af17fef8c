"""Packs for `training.convert_dataset`: every type of label, and arrays that do not fit."""

import numpy as np
import pytest

from tests.conftest import shared_path
from training.conversion.packs import packed_images

DATA = b"\xff\xd8one\xff\xd8three"
GOOD = {
    "class_names": np.array(["dog", "cat"]),
    "jpeg_train": np.frombuffer(DATA, np.uint8),
    "offsets_train": np.array([0, 5, 12]),
    "y_train": np.array([1, 0]),
}


def write(path, **changed):
    np.savez(path, **{**GOOD, **changed})
    return path


@pytest.mark.parametrize("labels", ["i1", "i8", "u1", "u2", "u8"])
@pytest.mark.parametrize("offsets", ["i4", "u4", "u8"])
def test_labels_and_offsets_of_every_integer(tmp_path, labels, offsets):
    path = write(
        tmp_path / "pack.npz",
        y_train=GOOD["y_train"].astype(labels),
        offsets_train=GOOD["offsets_train"].astype(offsets),
    )
    names, examples = packed_images(path)
    assert names == ["dog", "cat"]
    assert list(examples) == [("train", 1, DATA[:5]), ("train", 0, DATA[5:])]


def test_class_names_of_bytes(tmp_path):
    path = write(tmp_path / "pack.npz", class_names=np.array([b"dog", b"cat"]))
    assert packed_images(path).class_names == ["dog", "cat"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_train": np.array([0.0, 1.0])}, r"train: y is float64 of shape \(2,\)"),
        ({"y_train": np.array([True, False])}, "y is bool"),
        ({"y_train": np.array([[0], [1]])}, r"y is int64 of shape \(2, 1\)"),
        ({"y_train": np.array(["cat", "dog"])}, "y is <U3"),
        ({"y_train": np.array([0, 255], np.uint8)}, "labels are from 0 to 255"),
        ({"y_train": np.array([0, -2])}, "labels are from -2 to 0"),
        ({"offsets_train": np.array([0, 9, 5])}, "offsets are not ascending"),
        ({"offsets_train": np.array([0, 5, 13])}, "offsets are not ascending numbers from 0 to 12"),
        ({"offsets_train": np.array([-1, 5, 12])}, "offsets are not ascending"),
        ({"offsets_train": np.array([0.0, 5.0, 12.0])}, "offsets is float64"),
        ({"jpeg_train": np.zeros(12, np.int32)}, "jpeg is int32"),
        ({"class_names": np.array(["dog", "dog"])}, "class names repeat: dog"),
        ({"class_names": np.array([])}, r"labels are from 0 to 1, .* class names \(0\)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        packed_images(write(tmp_path / "pack.npz", **changed))


def test_files_that_are_no_packs(tmp_path):
    whole = write(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    middle = bytearray(whole)
    middle[len(whole) // 3 : len(whole) // 3 + 40] = bytes(40)
    (tmp_path / "zeros.npz").write_bytes(bytes(middle))
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "array.npy", np.arange(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    write(tmp_path / "objects.npz", class_names=np.array(["dog", 3], object))
    for name in ("cut", "zeros", "empty", "array", "objects"):
        with pytest.raises(ValueError, match=f"{name}.npz is not a pack of images") as error:
            packed_images(tmp_path / f"{name}.npz")
        assert "allow_pickle" not in str(error.value)


def test_the_real_pack_of_cifar10():
    path = shared_path("data/cifar10_jpeg.npz")
    names, examples = packed_images(path)
    split, label, data = next(examples)
    assert (split, data[:2]) == ("train", b"\xff\xd8")
    assert (label, names) == (np.load(path)["y_train"][0], np.load(path)["class_names"].tolist())
