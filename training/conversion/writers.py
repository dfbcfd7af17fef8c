"""The two forms that a dataset is written in: class folders and TFRecord shards."""

from collections.abc import Sequence

import tensorflow as tf

from sassl_tf.datasets.records import CLASS_NAMES_FILE
from sassl_tf.errors import UserError
from sassl_tf.files import check_holds_no_folders, replacing, writing
from sassl_tf.paths import as_path
from sassl_tf.typing import PathLike
from training.conversion.source import Source

SPLIT_FOLDERS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"GI": ".gif", b"BM": ".bmp", b"RI": ".webp"}
SHARD_BYTES = 256 * 2**20


def write_folders(source: Source, output: PathLike) -> int:
    """Writes images to class folders; those without a label are left out.

    Args:
        source: the `training.conversion.source.Source`.
        output: path of the folder to make.

    Returns:
        The number of images.

    Raises:
        ValueError: `output` exists, an image has an unknown format, two classes would share a
            folder, or there is no image with a label.
    """
    count = 0
    folder_of: dict[str, str] = {}  # of each class
    with _new_folder(output) as beside:
        for split, label, data in source.examples:
            if label < 0:
                continue
            name = source.class_names[label] if source.class_names else str(label)
            suffix = _suffix(data, count, split, name)
            if name not in folder_of:
                folder_of[name] = _folder_name(name, folder_of.values())
            folder = beside / SPLIT_FOLDERS[split] / folder_of[name]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{count:08}{suffix}").write_bytes(data)
            count += 1
        if not count:
            raise UserError(
                "There are no labelled images to write to class folders. Without labels, write "
                "shards: --format=records."
            )
    return count


def write_shards(source: Source, output: PathLike, shard_bytes: int = SHARD_BYTES) -> int:
    """Writes images to TFRecord shards, for `records:OUTPUT/{split}-*`.

    A record is a `tf.train.Example` of "image" and "label", as TFDS writes them; the label is -1
    where there is none.

    Args:
        source: the `training.conversion.source.Source`.
        output: path of the folder to make.
        shard_bytes: a shard ends with the image that reaches this size.

    Returns:
        The number of images.

    Raises:
        ValueError: `output` exists, an image has an unknown format, a class has a name that cannot
            be a line of a file, or there is no image.
    """
    _check_names(source.class_names)
    count = 0
    shards: dict[str, _Shards] = {}  # of each split
    with _new_folder(output) as beside:
        beside.mkdir()
        for split, label, data in source.examples:
            _suffix(data, count, split, label)
            if split not in shards:
                shards[split] = _Shards(beside, split, shard_bytes)
            shards[split].write(example(data, label))
            count += 1
        for shard in shards.values():
            shard.close()
        if not count:
            raise UserError("There are no images to write.")
        if source.class_names:
            names = "".join(f"{name}\n" for name in source.class_names)
            (beside / CLASS_NAMES_FILE).write_text(names, "utf-8")
    return count


class _Shards:
    """The shards of a split, one of which is being written."""

    def __init__(self, folder, split, shard_bytes):
        self._folder, self._split, self._shard_bytes = folder, split, shard_bytes
        self._number, self._size, self._writer = 0, 0, None

    def write(self, record):
        if self._writer is None:
            file = self._folder / f"{self._split}-{self._number:05}.tfrecord"
            self._writer = tf.io.TFRecordWriter(str(file))
        with writing(self._folder):
            self._writer.write(record)
        self._size += len(record)
        if self._size >= self._shard_bytes:
            self.close()

    def close(self):
        if self._writer is not None:
            with writing(self._folder):
                self._writer.close()
            self._number, self._size, self._writer = self._number + 1, 0, None


def example(data: bytes, label: int) -> bytes:
    """Returns the record of an encoded image; the label is -1 where there is none."""
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[data])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _check_names(class_names: Sequence[str]) -> None:
    """Raises a ValueError for names that would not be read back from `label.labels.txt`."""
    for name in class_names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(
                f"The class {name!r} has a name that is no UTF-8. Rename its folder."
            ) from None
        if "\n" in name or name != name.strip():
            raise UserError(
                f"The class {name!r} has a line break, or blanks at an end of its name. Rename it."
            )


def check_is_new(output: PathLike) -> None:
    """Raises a ValueError if the folder exists, or an OSError if it would be in a bucket."""
    check_holds_no_folders(output)
    if as_path(output).exists():
        raise UserError(f"{output} exists already; give another --output, or remove it.")


def _new_folder(output):
    check_is_new(output)
    return replacing(output)


def _suffix(data, count, split, name):
    suffix = SUFFIXES.get(data[:2])
    if suffix is None:
        raise UserError(
            f"Image {count} ({split}, {name}) is not a JPEG, PNG, GIF, BMP or WebP file. "
            "Remove it from the dataset, or convert it."
        )
    return suffix


def _folder_name(class_name, taken):
    # Some names of TFDS contain slashes (SUN397: /a/abbey).
    name = class_name.strip("/").replace("/", "_")
    if not name or name.startswith(".") or name in taken:
        raise UserError(
            f"The class {class_name!r} cannot have a folder of its own: its name is empty, begins "
            "with a dot, or becomes another class's name when _ replaces /. Rename it."
        )
    return name
