"""Folders that are not laid out as expected: names, links, pipes, what cannot be read."""

import errno
import os
import shutil
import warnings

import pytest

from sassl_tf.datasets import MissingSplit, listing
from sassl_tf.datasets.folder import every_image, folder
from tests.datasets.test_folder import class_folders, put


@pytest.fixture(autouse=True)
def no_warnings():
    """Unless a test expects one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def root(tmp_path):
    class_folders(tmp_path / "train", {"ant": 2, "bee": 1, "cat": 3})
    return class_folders(tmp_path / "test", {"ant": 1, "cat": 1}).parent


NAMES = "Train Test, TRAIN VAL, training testing, Training Validation, train valid, train dev"


@pytest.mark.parametrize(("train", "test"), [pair.split() for pair in NAMES.split(", ")])
def test_splits_by_other_names(root, train, test):
    (root / "train").rename(root / "moved")
    (root / "moved").rename(root / train)
    (root / "test").rename(root / "moved")
    (root / "moved").rename(root / test)
    assert folder(root, "train").labels.tolist() == [0, 0, 1, 2, 2, 2]
    assert folder(root, "test").labels.tolist() == [0, 2]
    with pytest.raises(MissingSplit):
        folder(root, "validation")


def test_validation_beside_test(root):
    class_folders(root / "Valid", {"bee": 2})
    assert folder(root, "validation").labels.tolist() == [1, 1]


@pytest.mark.parametrize(("one", "other"), [("train", "Training"), ("val", "valid")])
def test_two_folders_of_one_split(root, one, other):
    for name in (one, other):
        class_folders(root / name, {"ant": 1})
    with pytest.raises(ValueError, match=rf"several folders .*: ({one}|{other}), ({one}|{other})"):
        folder(root)


def test_one_split_beside_other_folders(tmp_path):
    class_folders(tmp_path / "Train", {"ant": 2, "bee": 2})
    class_folders(tmp_path / "unlabelled", {"x": 3})
    with pytest.raises(ValueError, match=r"folder Train that holds class folders.*\(unlabelled\)"):
        folder(tmp_path)


def test_what_lies_beside_the_splits_is_named(root):
    class_folders(root, {"extra": 2})
    put(root / "overview.png")
    (root / "annotations").mkdir()
    (root / "annotations" / "all.json").write_text("{}")
    with pytest.warns(UserWarning, match="Not used") as caught:
        warnings.simplefilter("always")
        assert len(folder(root)) == 6
    told = [str(warning.message) for warning in caught]
    assert len(told) == 2 and "1 folders: extra" in told[0] and "1 images: overview.png" in told[1]


@pytest.mark.parametrize("place", [".", "train"])
def test_images_beside_class_folders_are_named(root, place):
    if place == ".":
        shutil.rmtree(root / "test")
        shutil.move(root / "train", root / "moved")
        root = root / "moved"
    loose = root / place / "loose.JPG"
    put(root / "x.png")
    (root / "x.png").rename(loose)
    with pytest.warns(UserWarning, match=r"beside the class folders of .*1 images: loose\.JPG"):
        folder(root)


def test_a_folder_that_cannot_be_read_is_named(root, monkeypatch):
    scandir = os.scandir

    def refusing(path):  # as for a user who is not root
        if str(path).endswith("bee"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(listing.os, "scandir", refusing)
    for load in (folder, every_image):
        with pytest.raises(ValueError, match=r"train/bee cannot be read \(Permission denied\)"):
            load(root)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_folder_without_permission_is_named(root):
    (root / "train" / "bee").chmod(0)
    try:
        with pytest.raises(ValueError, match=r"train/bee cannot be read \(Permission denied\)"):
            folder(root)
    finally:
        (root / "train" / "bee").chmod(0o700)


@pytest.mark.parametrize("target", ["nowhere", "dog"])
def test_a_class_folder_whose_link_leads_nowhere(root, target):
    (root / "train" / "dog").symlink_to(root / "train" / target)  # the second to itself
    with pytest.raises(ValueError, match=r"train/dog is a link to .*not there"):
        folder(root)


def test_links_to_class_folders_and_images_are_followed(root, tmp_path_factory):
    elsewhere = class_folders(tmp_path_factory.mktemp("elsewhere"), {"dog": 2})
    (root / "train" / "dog").symlink_to(elsewhere / "dog")
    (root / "train" / "ant" / "one_more.png").symlink_to(elsewhere / "dog" / "00.png")
    assert folder(root).labels.tolist() == [0, 0, 0, 1, 2, 2, 2, 3, 3]


def test_links_back_are_not_followed(root):
    before = folder(root).labels.tolist()
    ant = root / "train" / "ant"
    for name, target in (("a", ant), ("b", root), ("c", root.parent), ("d", "/"), ("e", ".")):
        (ant / name).symlink_to(target)
    (root / "train" / "bee" / "up").symlink_to("..")
    assert folder(root).labels.tolist() == before
    assert len(every_image(root)) == 8


def test_links_into_each_other_end(root):
    train = root / "train"
    for one, other in (("ant", "bee"), ("bee", "cat"), ("cat", "ant")):
        (train / one / "next").symlink_to(train / other)
    # Each class holds the images of the other two, once: 6 each.
    assert folder(root).labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6


def test_pipes_and_devices_are_no_images(root):
    os.mkfifo(root / "train" / "ant" / "pipe.png")
    os.mkfifo(root / "pipe.png")
    (root / "train" / "ant" / "zero.png").symlink_to("/dev/zero")
    (root / "train" / "ant" / "linked.png").symlink_to(root / "pipe.png")
    # Nothing is opened here: a pipe would wait for ever.
    names = {os.path.basename(file) for file in listing.files_under(root)}
    assert names == {"00.png", "01.png", "02.png"}
    assert folder(root).labels.tolist() == [0, 0, 1, 2, 2, 2]
