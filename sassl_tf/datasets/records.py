"""Images in TFRecord files of `tf.train.Example`, as datasets with random access."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from sassl_tf.datasets.dataset import (
    SPLIT_NAMES,
    UNLABELLED,
    ImageDataset,
    MissingSplit,
    check_split,
    fingerprint_of,
)
from sassl_tf.datasets.decoding import decode_image
from sassl_tf.datasets.failing import failing
from sassl_tf.datasets.left_out import FORMATS, leave_out
from sassl_tf.datasets.shards import Places, Shard, absolute, look_at, matching, places_of
from sassl_tf.datasets.tfrecord import Records, first_records, scan
from sassl_tf.errors import FileError, UserError
from sassl_tf.paths import reading

SPLIT = "{split}"
CLASS_NAMES_FILE = "label.labels.txt"  # as TFDS calls it: a name on each line
# Where several features hold images, the first of these is taken.
IMAGE_FIELDS = ("image", "image/encoded", "image_raw", "jpg", "jpeg", "png")
LABEL_FIELDS = ("label", "image/class/label")
MOST_CLASSES = 1_000_000
LOOKED_AT = 8  # shards of many, for what a single one may lack


@dataclasses.dataclass(frozen=True)
class Fields:
    """The features of a `tf.train.Example` that are used.

    Attributes:
        image: of the encoded image, bytes.
        label: of the label, an integer; None where there are no labels.
    """

    image: str
    label: str | None

    def image_in(self, record: tf.Tensor) -> tf.Tensor:
        """Returns the encoded image in a record, string [], or those in several, string [W]."""
        wanted = {self.image: tf.io.FixedLenFeature([], tf.string)}
        parse = tf.io.parse_example if record.shape.rank else tf.io.parse_single_example
        return parse(record, wanted)[self.image]

    def checked_label(self, record: tf.Tensor) -> tf.Tensor:
        """Decodes the image of a record, and returns its label, int64 []; -1 if it has none."""
        wanted = {self.image: tf.io.FixedLenFeature([], tf.string)}
        if self.label:
            wanted[self.label] = tf.io.FixedLenFeature([], tf.int64, UNLABELLED)
        example = tf.io.parse_single_example(record, wanted)
        # Depends on the decoded image, so that the decoding is not optimised away.
        with tf.control_dependencies([decode_image(example[self.image])]):
            label = example[self.label] if self.label else tf.constant(UNLABELLED, tf.int64)
            return tf.maximum(tf.identity(label), UNLABELLED)


def records(pattern: str, split: str = "train") -> ImageDataset:
    """Loads TFRecord files as an `ImageDataset` that reads each image when it is wanted.

    The records are `tf.train.Example`s with the encoded image in one of their features: the one
    that holds an image in the first records, and if several do, `image`, `image/encoded`,
    `image_raw`, `jpg`, `jpeg` or `png`. The label is the integer `label` or `image/class/label`,
    where there is one. Names of classes are the lines of the file `label.labels.txt` beside the
    shards, else numbers.

    Every record is read once, when it is first seen, and its image decoded; those that cannot be
    are left out with a warning. See `sassl_tf.datasets.shards` for what is remembered.

    Args:
        pattern: of the shards, such as `/data/pets-*.tfrecord` or `gs://bucket/pets-*`. Where it
            has `{split}`, this stands for `train`; for `test`, `validation` or `val`, the first
            of them that is there and has labels; and for "validation", `validation` or `val`
            where that is not the test split. Without it, all are "train".
        split: "train", "test" or "validation".

    Raises:
        MissingSplit: the pattern has no such split; it is a ValueError.
        ValueError: no file matches, the shards are damaged or compressed, no feature holds an
            image, or more records than 1 % (one is always allowed) cannot be read.
    """
    check_split(split)
    paths = _paths_of_split(pattern, split)
    shards = look_at(paths)
    fields = fields_of(shards)
    places = places_of_records(shards, fields)
    class_names = []
    if fields.label and any((part.labels[part.good] >= 0).any() for part in places):
        class_names = _class_names(pattern, paths, fields, places)
    return dataset_of(f"records:{pattern}", split, shards, fields, places, class_names)


def _paths_of_split(pattern: str, split: str) -> list[str]:
    pattern = absolute(pattern)
    if SPLIT not in pattern:
        if split != "train":
            raise MissingSplit(
                f"records:{pattern} has no {split} split. Write {SPLIT} in the pattern where the "
                "names of the shards have train, test or validation."
            )
        if not (paths := matching(pattern)):
            raise UserError(f"No file matches records:{pattern}.{_about_folder(pattern)}")
        return paths
    tried = [pattern.replace(SPLIT, name) for name in SPLIT_NAMES[split]]
    found = [paths for one in tried if (paths := matching(one))]
    is_test_too = split == "validation" and found and _paths_of_split(pattern, "test") == found[0]
    if not found or is_test_too:
        raise MissingSplit(
            f"records:{pattern} has no {split} split: no file matches {' or '.join(tried)}"
            f"{', beside one of test' if is_test_too and found else ''}."
        )
    # As of TFDS's sets: the first that has labels, else the last (ImageNet's test has none).
    labelled = (paths for paths in found[:-1] if split != "test" or _is_labelled(paths))
    return next(labelled, found[-1] if split == "test" else found[0])


def _is_labelled(paths: Sequence[str]) -> bool:
    """Returns whether one of the first records of some shards has a label."""
    shards = look_at(paths)
    label = fields_of(shards).label
    if label is None:
        return False
    return any(value >= 0 for shard in _spread(shards) for value in _values(shard, label))


def _spread(shards: Sequence[Shard]) -> Sequence[Shard]:
    """Returns some of many shards, evenly spread."""
    return shards[:: max(1, len(shards) // LOOKED_AT)]


def _values(shard: Shard, label: str) -> Iterator[int]:
    """Yields the labels of the first records of a shard."""
    for example in filter(None, map(_parsed, first_records(shard))):
        yield from example.features.feature[label].int64_list.value


def _about_folder(pattern: str) -> str:
    with reading(pattern):
        is_folder = tf.io.gfile.isdir(pattern)
    return f" It is a folder; give a pattern, such as {os.path.join(pattern, '*')}." * is_folder


def fields_of(shards: Sequence[Shard]) -> Fields:
    """Finds out which features of the first records hold the image and the label.

    Raises:
        ValueError: none of the first records holds an image; names the shard and what they hold.
    """
    for shard in shards:
        if not (contents := first_records(shard)):
            continue
        examples = [_parsed(content) for content in contents]
        for example in filter(None, examples):
            if images := _image_fields(example):
                names = [name for name in IMAGE_FIELDS if name in images] or images
                if len(names) > 1 and names == images:
                    raise UserError(
                        f"{shard.path}: several features hold images ({', '.join(images)}). Give "
                        f"the one that is meant one of the names {', '.join(IMAGE_FIELDS)}."
                    )
                return Fields(names[0], _found_label(examples, shards))
        raise UserError(
            f"{shard.path}: none of the first {len(contents)} records, from byte 0 on, holds an "
            f"image ({FORMATS}) in a feature of a tf.train.Example; {_contents_of(examples[0])}."
        )
    raise UserError(f"{shards[0].path}: there is no record in it or in the other shards.")


def _parsed(content: bytes) -> tf.train.Example | None:
    try:
        return tf.train.Example.FromString(content)
    except Exception:  # protobuf's own kind depends on its implementation
        return None


def _image_fields(example: tf.train.Example) -> list[str]:
    features = example.features.feature
    return sorted(name for name in features if _is_image(features[name].bytes_list.value))


def _is_image(values: Sequence[bytes]) -> bool:
    if len(values) != 1:
        return False
    data = values[0]
    is_webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return is_webp or data.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM"))


def _found_label(
    examples: Sequence[tf.train.Example | None], shards: Sequence[Shard]
) -> str | None:
    """Returns the label's field of the first record that has one, here or in other shards."""
    for example in filter(None, examples):
        if label := _label_field(example):
            return label
    for shard in _spread(shards):
        for example in filter(None, map(_parsed, first_records(shard))):
            if label := _label_field(example):
                return label
    return None


def _label_field(example: tf.train.Example) -> str | None:
    features = example.features.feature
    present = (name for name in LABEL_FIELDS if name in features)
    return next((name for name in present if len(features[name].int64_list.value) == 1), None)


def _contents_of(example: tf.train.Example | None) -> str:
    if example is None:
        return "the first is no tf.train.Example"
    features = example.features.feature
    held = [f"{name} ({features[name].WhichOneof('kind')})" for name in sorted(features)]
    return f"the first has {', '.join(held) or 'no feature'}"


def places_of_records(shards: Sequence[Shard], fields: Fields) -> list[Places]:
    """Returns the `Places` of each shard, remembered or found by reading it."""
    kind = f"tfrecord {fields.image!r} {fields.label!r}"
    return places_of(shards, kind, lambda some: scan(some, fields.checked_label))


def _class_names(
    pattern: str, paths: Sequence[str], fields: Fields, places: Sequence[Places]
) -> list[str]:
    """Returns the names in the file beside the shards, else the numbers of all splits' labels."""
    file = f"{os.path.dirname(paths[0])}/{CLASS_NAMES_FILE}"
    most = max(int(part.labels.max(initial=-1)) for part in places)
    if names := _names_in(file):
        if most >= len(names):
            raise UserError(
                f"The labels of records:{pattern} go up to {most}, and {file} has {len(names)} "
                "names. Write a name for each label, from 0 on, or remove the file."
            )
        return names
    if SPLIT in pattern:  # a label means the same in all splits, also where one lacks the last
        for name in {*sum(SPLIT_NAMES.values(), ())}:
            if others := matching(absolute(pattern).replace(SPLIT, name)):
                parts = places_of_records(look_at(others), fields)
                most = max([most, *(int(part.labels.max(initial=-1)) for part in parts)])
    if most >= MOST_CLASSES:
        raise UserError(
            f"The labels of records:{pattern} go up to {most}; expected numbers of classes, from 0 "
            f"on, below {MOST_CLASSES:,}. Is the feature an identifier? Write labels from 0 on."
        )
    return [str(label) for label in range(most + 1)]


def _names_in(file: str) -> list[str]:
    """Returns the lines of a file; none where there is no such file.

    Raises:
        ValueError: it is no UTF-8.
    """
    with reading(file):
        if not tf.io.gfile.exists(file):
            return []
        content = tf.io.gfile.GFile(file, "rb").read()
    try:
        lines = content.decode("utf-8").split("\n")  # splitlines knows more ends of lines
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no UTF-8 ({error}). Write it again in UTF-8.") from error
    lines = [line.rstrip("\r") for line in lines]
    return lines[:-1] if not lines[-1] else lines


def dataset_of(
    name: str,
    split: str,
    shards: Sequence[Shard],
    fields: Fields,
    places: Sequence[Places],
    class_names: Sequence[str],
) -> ImageDataset:
    """Returns the `ImageDataset` of the good records of shards, after a warning of the bad ones.

    Args:
        name: of the dataset, as a user gives it.
        split: "train", "test" or "validation".
        shards: of TFRecord.
        fields: of the image and the label.
        places: the `Places` of each shard.
        class_names: one name per label; empty where there are no labels.

    Raises:
        ValueError: too many records are bad.
    """
    bad = [
        f"{shard.path} at byte {offset}"
        for shard, part in zip(shards, places, strict=True)
        for offset in part.offsets[~part.good]
    ]
    leave_out(bad, sum(map(len, places)), f"records of the {split} split of {name}")
    stored = Records(shards, places)
    labels = np.concatenate([part.labels[part.good] for part in places])
    parts = [
        (os.path.basename(shard.path), shard.size, part.offsets[part.good].tobytes())
        for shard, part in zip(shards, places, strict=True)
    ]
    held = [value for part in parts for value in part]
    times = [shard.time for shard in shards]

    def encoded(index: tf.Tensor) -> tf.Tensor:
        return fields.image_in(stored.read(index))

    def read(index: tf.Tensor) -> tf.Tensor:
        return decode_image(encoded(index))

    return ImageDataset(
        name=name,
        split=split,
        class_names=list(class_names),
        labels=labels if class_names else np.full(len(labels), UNLABELLED),
        fingerprint=fingerprint_of(*class_names, *held, *times),
        read=read,
        listing=fingerprint_of(*class_names, *held),
        damaged=functools.partial(_damaged, shards, places, read),
        encoded=encoded,
        encoded_run=lambda indices: fields.image_in(stored.read_run(indices)),
    )


def _damaged(
    shards: Sequence[Shard], places: Sequence[Places], read: Callable[[tf.Tensor], tf.Tensor]
) -> list[str]:
    """Returns the places of the records that could be read once and cannot now.

    If no shard has another size or time, all are read, as disks also fail without a trace.
    """
    now = {shard.path: _as_it_is(shard) for shard in shards}
    changed = {shard.path for shard in shards if now[shard.path] != shard}
    suspects = [shard.path in changed or not changed for shard in shards]
    counts = [int(part.good.sum()) for part in places]

    bad = failing(read, np.flatnonzero(np.repeat(suspects, counts)))
    owners = np.repeat(np.arange(len(shards)), counts)[bad]
    offsets = np.concatenate([part.offsets[part.good] for part in places])[bad]
    return [
        f"{shards[owner].path} at byte {offset}"
        for owner, offset in zip(owners, offsets, strict=True)
    ]


def _as_it_is(shard: Shard) -> Shard | None:
    try:
        return look_at([shard.path])[0]
    except FileError:
        return None
