"""TensorFlow Datasets as datasets with random access."""

import os
import socket
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from sassl_tf.datasets.dataset import (
    SPLIT_NAMES,
    UNLABELLED,
    ImageDataset,
    MissingSplit,
    check_split,
)
from sassl_tf.datasets.records import Fields, dataset_of, places_of_records
from sassl_tf.datasets.shards import Places, Shard, absolute, look_at
from sassl_tf.errors import PackageError, UserError
from sassl_tf.typing import PathLike

HOST = ("storage.googleapis.com", 443)
PATIENCE = 5  # seconds
ARRAY_RECORD = "array_record"


def tfds(name: str, split: str = "train", data_dir: PathLike | None = None) -> ImageDataset:
    """Loads a split of a TFDS image dataset as an `ImageDataset`.

    Each image is read from the shards when it is wanted: see `sassl_tf.datasets.records`, which
    says too what happens at the first look and with records that cannot be read. The feature
    `image` is the image; the feature `label`, where it is a ClassLabel, is the label. A dataset
    that is not prepared yet is downloaded and prepared.

    Args:
        name: of the dataset in TFDS: `cifar10`, `imagenette/160px-v2`, `cifar10:3.0.2`.
        split: "train"; "test", which is `test` where it is present and labelled, else
            `validation`; or "validation", which is `validation` where that is not the test split.
        data_dir: folder of prepared datasets; by default TFDS's own.

    Raises:
        ValueError: an unknown dataset or split, no image feature, shards that are no TFRecord files
            or not as TFDS wrote them, or a dataset that is not prepared when there is no network.
    """
    check_split(split)
    builder = prepared_builder(name, data_dir)
    check_readable(name, builder)
    fields = Fields("image", "label" if _has_label(builder) else None)
    source = source_split(builder, split, fields.label)
    shards, places = stored_in(name, builder, source, fields)
    class_names = _class_names(builder.info.features["label"]) if fields.label else []
    return dataset_of(f"tfds:{name}", split, shards, fields, places, class_names)


def encoded_examples(
    name: str, splits: Sequence[str], data_dir: PathLike | None = None
) -> tuple[list[str], Iterator[tuple[str, int, bytes]]]:
    """Reads all images of a dataset one after the other, as they are stored, in any file format.

    Args:
        name: as for `tfds`.
        splits: names of splits in TFDS. Those that the dataset lacks are left out.
        data_dir: as for `tfds`.

    Returns:
        The class names, [] where there are no labels; and an iterator of (split, label, encoded
        image), where the label is -1 if there is none.

    Raises:
        ValueError: an unknown dataset, or one without images.
    """
    builder = prepared_builder(name, data_dir)
    features = builder.info.features
    _check_image(name, features)
    is_labelled = _has_label(builder)
    columns = ["image", "label"] if is_labelled else ["image"]

    def examples() -> Iterator[tuple[str, int, bytes]]:
        for split in splits:
            if split not in builder.info.splits:
                continue
            total = builder.info.splits[split].num_examples
            stored = _stored(builder, split, columns)
            for label, image in tqdm(stored, desc=split, total=total, unit="img", disable=None):
                yield split, label, image

    return _class_names(features["label"]) if is_labelled else [], examples()


def _stored(builder: Any, split: str, columns: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    """Yields (label, encoded image) of a split, in order."""
    if builder.info.file_format.value == ARRAY_RECORD:
        yield from _stored_in_array_records(builder.info.splits[split].filepaths)
        return
    for example in _encoded(builder, split, columns).as_numpy_iterator():
        yield int(example.get("label", UNLABELLED)), example["image"]


def _stored_in_array_records(paths: Sequence[PathLike]) -> Iterator[tuple[int, bytes]]:
    try:
        from array_record.python.array_record_module import ArrayRecordReader
    except ImportError as error:
        raise PackageError(
            "The dataset is prepared as ArrayRecord, which the package array-record reads: pip "
            "install array-record."
        ) from error
    for path in paths:
        reader = ArrayRecordReader(os.fspath(path))
        for _ in range(reader.num_records()):
            features = tf.train.Example.FromString(reader.read()).features.feature
            labels = features["label"].int64_list.value if "label" in features else ()
            yield (labels[0] if labels else UNLABELLED), features["image"].bytes_list.value[0]
        reader.close()


# Finding the data.


def prepared_builder(name: str, data_dir: PathLike | None) -> Any:
    """Returns the builder of a TFDS dataset, which is downloaded and prepared if it is not yet.

    Raises:
        ValueError: an unknown dataset, or one that is not prepared when there is no network.
    """
    import tensorflow_datasets

    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
    except tensorflow_datasets.core.DatasetNotFoundError as error:
        where = data_dir or "TFDS's own folder"
        raise UserError(
            f"TensorFlow Datasets has no {name!r}, and none is prepared in {where}. See "
            "tensorflow.org/datasets for the names, or give --data_dir, the folder that holds "
            "the prepared one."
        ) from error
    except (ValueError, AssertionError) as error:  # a version, a config or a spelling of the name
        said = " ".join(str(error).split())  # lists the versions, or configs of similar names
        raise UserError(
            f"TensorFlow Datasets cannot load {name!r}. Give tfds:NAME, tfds:NAME/CONFIG or "
            f"tfds:NAME:VERSION. It says: {said[:800]}"
        ) from error
    if not builder.info.splits:
        _check_network(name, builder)
        try:
            builder.download_and_prepare()
        except Exception as error:  # TFDS raises many kinds, AssertionError for files by hand
            raise UserError(
                f"The dataset tfds:{name} could not be prepared: {error}. Follow what it says, or "
                f"prepare it elsewhere (tfds build {name} --data_dir=FOLDER) and give "
                "--data_dir=FOLDER."
            ) from error
    return builder


def _check_network(name: str, builder: Any) -> None:
    """Raises an error within seconds where there is no network; TFDS takes minutes to fail.

    It is not asked for where TFDS may not need it: for files that were downloaded by hand, and
    where the environment names a proxy.
    """
    proxies = {"http", "https", "all"} & urllib.request.getproxies().keys()
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS or proxies:
        return
    if not _can_connect():
        raise UserError(
            f"The dataset tfds:{name} is not prepared (looked for {builder.data_path}) and "
            f"{HOST[0]} cannot be reached to download it. Prepare it on a machine with a network "
            f"(tfds build {name} --data_dir=FOLDER, or tfds.load({name!r}, data_dir=FOLDER)), "
            "copy FOLDER here and give --data_dir=FOLDER."
        )


def _can_connect() -> bool:
    connected = []

    def connect() -> None:
        try:
            socket.create_connection(HOST, timeout=PATIENCE).close()
            connected.append(True)
        except OSError:
            pass

    # In a thread, because the time limit of a socket does not include the look-up of the name.
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(PATIENCE + 1)
    return bool(connected)


def check_readable(name: str, builder: Any) -> None:
    """Raises a ValueError for a dataset without images, or prepared as something but TFRecord."""
    _check_image(name, builder.info.features)
    _check_format(name, builder)


def stored_in(
    name: str, builder: Any, source: str, fields: Fields
) -> tuple[list[Shard], list[Places]]:
    """Returns the shards of a split of TFDS, and the places of the records in each.

    Args:
        name: as for `tfds`.
        builder: of the dataset.
        source: the name of the split in TFDS.
        fields: of the image and the label.

    Raises:
        ValueError: a shard is not as TFDS wrote it.
    """
    info = builder.info.splits[source]
    shards = look_at([absolute(os.fspath(path)) for path in info.filepaths])
    places = places_of_records(shards, fields)
    _check_counts(name, info, shards, places)
    return shards, places


# Choosing what to read.


def _has_label(builder: Any) -> bool:
    import tensorflow_datasets

    features = builder.info.features
    return "label" in features and isinstance(
        features["label"], tensorflow_datasets.features.ClassLabel
    )


def _class_names(label: Any) -> list[str]:
    return list(label.names or map(str, range(label.num_classes)))


def _check_image(name: str, features: Any) -> None:
    import tensorflow_datasets

    image = features["image"] if "image" in features else None  # noqa: SIM401 (no dict)
    if not isinstance(image, tensorflow_datasets.features.Image):
        raise UserError(
            f"The dataset tfds:{name} has no feature named image (its features: "
            f"{', '.join(features)}). Write its images to class folders and use folder:PATH."
        )
    if image.np_dtype not in (np.uint8, np.uint16) or len(image.shape) != 3:
        raise UserError(
            f"The images of tfds:{name} are {np.dtype(image.np_dtype)} of shape {image.shape}; "
            "expected uint8 or uint16 [H, W, C]. Convert them to files and use folder:PATH."
        )


def _check_format(name: str, builder: Any) -> None:
    kind = builder.info.file_format.value
    if kind != "tfrecord":
        raise UserError(
            f"The dataset tfds:{name} is prepared as {kind}, which no operation of TensorFlow can "
            "read. Write its images to shards once: python -m training.convert_dataset --source="
            f"tfds:{name} --format=records --output=FOLDER. Then use records:FOLDER/"
            "{split}-*. Or prepare it as TFRecord: tfds build --file_format=tfrecord."
        )


def _check_counts(name: str, info: Any, shards: Sequence[Shard], places: Sequence[Places]) -> None:
    """Checks that the shards are those that TFDS counted when it wrote them."""
    for shard, part, count in zip(shards, places, info.shard_lengths, strict=True):
        if len(part) != count:
            raise UserError(
                f"{shard.path} has {len(part)} records, and {count} by the dataset_info.json of "
                f"tfds:{name}. Copy the shards again, or prepare the dataset again."
            )


def source_split(builder: Any, split: str, label: str | None) -> str:
    """Returns the first split of TFDS that has labels, else the last (ImageNet's test has none)."""
    present = [name for name in SPLIT_NAMES[split] if name in builder.info.splits]
    if split == "validation" and source_split(builder, "test", label) in present:
        present = []
    if not present:
        raise MissingSplit(
            f"The dataset tfds:{builder.name} has no split for {split!r} "
            f"({' or '.join(SPLIT_NAMES[split])}); it has {', '.join(builder.info.splits)}."
        )
    for name in present[:-1]:
        if label is None or _first_label(builder, name, label) >= 0:
            return name
    return present[-1]


def _first_label(builder: Any, source: str, label: str) -> int:
    first = next(_encoded(builder, source, [label]).as_numpy_iterator(), {label: UNLABELLED})
    return int(first[label])


def _encoded(builder: Any, source: str, columns: Sequence[str]) -> tf.data.Dataset:
    """Returns a `tf.data.Dataset` of {feature: tensor}, in order; images as they are stored."""
    import tensorflow_datasets

    decode = tensorflow_datasets.decode
    decoders = {"image": decode.SkipDecoding()} if "image" in columns else None
    return builder.as_dataset(
        split=source,
        shuffle_files=False,
        decoders=decode.PartialDecoding(dict.fromkeys(columns, True), decoders=decoders),
        read_config=tensorflow_datasets.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
