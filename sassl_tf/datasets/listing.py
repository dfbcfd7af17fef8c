"""Lists of the files of a folder of images, by split and class."""

import dataclasses
import itertools
import os
import pathlib
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sassl_tf.datasets.dataset import UNLABELLED, MissingSplit
from sassl_tf.errors import UserError
from sassl_tf.paths import AnyPath, RemotePath, is_url
from sassl_tf.typing import PathLike

# Names of a split's folder, in any case.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val"), "validation": ("val",)}
TEST_EVERY = 5
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")


def listing(root: AnyPath, split: str) -> tuple[list[str], NDArray[np.int64], list[str]]:
    """Returns the split's files (str, sorted by class and name), labels [N] and class names.

    Warns of images and folders that lie where they are not used.

    Raises:
        ValueError: no such split or image, a folder that cannot be read, or one that may be either
            a split or a class.
    """
    folders = split_folders(root)
    if {"val", "test"} <= folders.keys() and _labels_only_val(root, folders):
        del folders["test"]  # ImageNet's: then val is what encoders are tested on
    if split == "validation" and not {"val", "test"} <= folders.keys():
        raise MissingSplit(f"{root} has no validation split: a folder val beside a folder test.")
    if folders:
        home = root / _split_folder(root, split, folders)
        keep = None
        # The classes of all splits, so that a class missing from one does not shift its labels.
        known = {name for folder in folders.values() for name in _class_names(root / folder)}
        class_names = sorted(known) if _class_names(home) else []
        others = [name for name in _folders(root) if name not in folders.values()]
        unused = [name for name in others if any(map(_is_image, files_under(root / name)))]
        _warn_of_unused(root, "split folders", unused, "folders")
        _warn_of_unused(root, "split folders", _loose_images(root), "images")
    else:
        home, class_names, keep = root, _class_names(root), split

    _check_spelling(root, class_names)
    if not class_names:
        files = _unlabelled_files(home, keep)
        return files, np.full(len(files), UNLABELLED), []
    _warn_of_unused(home, "class folders", _loose_images(home), "images")
    all_files = {name: sorted(files_under(home / name)) for name in _class_names(home)}
    by_class = [_every_fifth(all_files.get(name, []), keep) for name in class_names]
    labels = np.repeat(np.arange(len(class_names)), [len(files) for files in by_class])
    files = list(itertools.chain.from_iterable(by_class))
    if not files:
        raise MissingSplit(
            f"The {split} split of {root} is empty: where there are no split folders, every "
            f"{TEST_EVERY}th image of each class is test. Add images, or train and test folders."
        )
    return files, labels, class_names


def _check_spelling(root: AnyPath, names: Iterable[str]) -> None:
    """Raises a UserError for two classes whose names look alike and are other bytes."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise UserError(
                f"{root} has the classes {other!a} and {name!a}, which look alike: their accents "
                "are stored in two ways, as when one comes from a Mac. Give them one name."
            )


# Splits.


def split_folders(root: AnyPath) -> dict[str, str]:
    """Returns {"train", "val" or "test": name of its folder}; {} where the folders are classes.

    Raises:
        ValueError: two folders are of one split, or a folder may be a split or a class.
    """
    present = _folders(root)
    by_split: dict[str, list[str]] = {}
    for name in present:
        if kind := _split_of(name):
            by_split.setdefault(kind, []).append(name)
    others = [name for name in present if not _split_of(name)]
    # One such name among others is a class: there are datasets of trains.
    if len(by_split) == 1 and others:
        _check_is_class(root, next(iter(by_split.values())), others)
        return {}
    for kind, names in by_split.items():
        if len(names) > 1:
            raise UserError(
                f"{root} has several folders for the {kind} split: {_some(names)}. Keep one of "
                "them, and rename or move the others."
            )
    return {kind: names[0] for kind, names in by_split.items()}


def _split_of(name: str) -> str | None:
    folded = name.casefold()
    return next((kind for kind, names in SPLIT_NAMES.items() if folded in names), None)


def _check_is_class(root: AnyPath, names: Sequence[str], others: Sequence[str]) -> None:
    """Raises a ValueError where a folder of a split's name holds class folders, as a split does."""
    for name in names:
        if _class_names(root / name) and not _loose_images(root / name):
            raise UserError(
                f"{root} has a folder {name} that holds class folders, so it may be a split. It "
                f"lies beside others ({_some(others)}), so it may be a class. For a split, move "
                f"the others away, or add a second split; for a class, rename {name}."
            )


def _labels_only_val(root: AnyPath, folders: Mapping[str, str]) -> bool:
    """Returns whether the folder of val has class folders, and that of test has images alone."""
    test = root / folders["test"]
    return bool(_class_names(root / folders["val"]) and not _class_names(test))


def _split_folder(root: AnyPath, split: str, folders: Mapping[str, str]) -> str:
    for kind in SPLIT_FOLDERS[split]:
        if kind in folders:
            return folders[kind]
    raise MissingSplit(
        f"{root} has no {split} split: it needs a folder named "
        f"{' or '.join(SPLIT_FOLDERS[split])}, and has {', '.join(folders.values())}."
    )


def _every_fifth(files: list[str], split: str | None) -> list[str]:
    """Returns the files of a split: every fifth is "test", the others "train"; None: all."""
    if split is None:
        return files
    is_test = [i % TEST_EVERY == TEST_EVERY - 1 for i in range(len(files))]
    return [file for file, test in zip(files, is_test, strict=True) if test == (split == "test")]


# Contents of folders.


def _unlabelled_files(home: AnyPath, split: str | None) -> list[str]:
    if split == "test":
        raise MissingSplit(
            f"{home} holds no class folders and no split folders, so all of it is train; "
            "for a test split put the images into folders train and test."
        )
    files = sorted(entry.path for entry in _visible(home) if _is_file(entry))
    if not files:
        raise UserError(
            f"No images in {home}: expected class folders of images "
            f"({os.path.join(home, 'CLASS', 'NAME.jpg')}), or images directly in it."
        )
    return files


def _warn_of_unused(home: AnyPath, beside: str, names: Sequence[str], what: str) -> None:
    if names:
        warnings.warn(
            f"Not used, as they lie beside the {beside} of {home}: {len(names)} {what}: "
            f"{_some(names)}",
            stacklevel=4,
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:5]) + ", ..." * (len(names) > 5)


def _loose_images(home: AnyPath) -> list[str]:
    return [entry.name for entry in _visible(home) if _is_image(entry.name) and _is_file(entry)]


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _folders(home: AnyPath) -> list[str]:
    """Returns the names of the folders in `home`, sorted.

    Raises:
        ValueError: one is a link that leads nowhere, such as to a class folder on another disk.
    """
    entries = _visible(home)
    for entry in entries:
        if _leads_nowhere(entry) and not _is_image(entry.name):
            raise UserError(
                f"{entry.path} is a link to {os.readlink(entry.path)}, which is not there. Mend "
                "the link, or remove it."
            )
    return sorted(entry.name for entry in entries if _is_folder(entry))


def _class_names(home: AnyPath) -> list[str]:
    """Returns the names of the folders in `home` that hold a file, at whatever depth."""
    return [name for name in _folders(home) if _holds_files(home / name)]


def _holds_files(folder: AnyPath) -> bool:
    return next(files_under(folder), None) is not None


def files_under(folder: PathLike) -> Iterator[str]:
    """Yields the paths of all files under a folder, at whatever depth, in no order.

    Links are followed, except back to a folder that contains them. Hidden files and folders are
    left out, and so are pipes and devices.

    Raises:
        ValueError: a folder cannot be read.
    """
    yield from _walk(str(folder), [_real(folder)])


def _walk(folder: str, path: list[str]) -> Iterator[str]:
    """Yields the files under a folder.

    Args:
        folder: as it was reached.
        path: the real folders on the way to this one, which is the last.
    """
    for entry in _visible(folder):
        if _is_folder(entry):
            real = _real(entry.path)
            if not any(_is_inside(passed, real) for passed in path):
                yield from _walk(entry.path, [*path, real])
        elif _is_file(entry):
            yield entry.path


def _is_inside(path: str, folder: str) -> bool:
    return pathlib.PurePath(path).is_relative_to(folder)


def _real(path: PathLike) -> str:
    return os.fspath(path) if is_url(path) else os.path.realpath(path)


@dataclasses.dataclass(frozen=True)
class RemoteEntry:
    """An entry of a folder under a URL, with the interface of `os.DirEntry`."""

    name: str
    path: str

    def is_dir(self) -> bool:
        """Returns whether it is a folder; of an image's name, without asking the bucket."""
        return not _is_image(self.name) and RemotePath(self.path).is_dir()

    def is_file(self) -> bool:
        """Returns whether it is a file."""
        return not self.is_dir()

    def is_symlink(self) -> bool:
        """Returns False: buckets have no links."""
        return False


Entry: TypeAlias = os.DirEntry[str] | RemoteEntry


def _visible(folder: PathLike) -> list[Entry]:
    if is_url(folder):
        paths = RemotePath(os.fspath(folder)).iterdir()
        return [RemoteEntry(p.name, str(p)) for p in paths if not p.name.startswith(".")]
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be read ({error.strerror}), and its images would be "
            "missing. Make it readable, or take it out of the dataset."
        ) from error


def _is_folder(entry: Entry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: Entry) -> bool:
    """Returns whether it is a file, or a link that leads nowhere: reading finds that out later."""
    return _leads_nowhere(entry) or (not _is_folder(entry) and entry.is_file())


def _leads_nowhere(entry: Entry) -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)
