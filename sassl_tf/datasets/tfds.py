"""TensorFlow Datasets as datasets with random access."""

import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from sassl_tf.datasets.dataset import (
    UNLABELLED,
    ImageDataset,
    MissingSplit,
    check_split,
    fingerprint_of,
)
from sassl_tf.datasets.decoding import decode_image
from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike

SPLIT_NAMES = {
    "train": ("train",),
    "test": ("test", "validation", "val"),
    "validation": ("validation", "val"),
}
MOST_BYTES = 8 * 2**30
HOST = ("storage.googleapis.com", 443)
PATIENCE = 5  # seconds


def tfds(name: str, split: str = "train", data_dir: PathLike | None = None) -> ImageDataset:
    """Loads a split of a TFDS image dataset as an `ImageDataset`.

    The split is kept in memory, in its encoded (JPEG or PNG) form, for random access. The feature
    `image` is the image; the feature `label`, where it is a ClassLabel, is the label. A dataset
    that is not prepared yet is downloaded and prepared.

    Args:
        name: of the dataset in TFDS: `cifar10`, `imagenette/160px-v2`, `cifar10:3.0.2`.
        split: "train"; "test", which is `test` where it is present and labelled, else
            `validation`; or "validation", which is `validation` where that is not the test split.
        data_dir: folder of prepared datasets; by default TFDS's own.

    Raises:
        ValueError: an unknown dataset or split, no image feature, a split of more than 8 GiB, or
            a dataset that is not prepared when there is no network.
    """
    check_split(split)
    builder = prepared_builder(name, data_dir)
    features = builder.info.features
    columns = ["image", "label"] if _has_label(builder) else ["image"]
    _check_image(name, features)
    source = source_split(builder, split, columns)

    tensors = _read_all(builder, source, columns)
    encoded = tensors["image"]
    unlabelled = np.full(len(encoded), UNLABELLED)
    return ImageDataset(
        name=f"tfds:{name}",
        split=split,
        class_names=list(features["label"].names or []) if "label" in tensors else [],
        labels=tensors["label"].numpy() if "label" in tensors else unlabelled,
        fingerprint=fingerprint_of("tfds", builder.info.full_name, source, len(encoded)),
        read=lambda index: decode_image(tf.gather(encoded, index)),
    )


def encoded_examples(
    name: str, splits: Sequence[str], data_dir: PathLike | None = None
) -> Iterator[tuple[str, str, bytes]]:
    """Yields (split, class name, encoded image) of all labelled images, one at a time.

    Args:
        name: as for `tfds`.
        splits: names of splits in TFDS. Those that the dataset lacks are left out, and so are
            splits without labels.
        data_dir: as for `tfds`.

    Raises:
        ValueError: an unknown dataset, or one without images and classes.
    """
    builder = prepared_builder(name, data_dir)
    features = builder.info.features
    _check_image(name, features)
    if not _has_label(builder):
        raise UserError(f"The dataset tfds:{name} has no class labels (its features: {features}).")
    to_name = features["label"].int2str
    for split in splits:
        if split not in builder.info.splits:
            continue
        examples = _encoded(builder, split, ["image", "label"])
        total = builder.info.splits[split].num_examples
        for example in tqdm(examples, desc=split, total=total, unit="img", disable=None):
            label = int(example["label"])
            if label >= 0:
                yield split, to_name(label), example["image"].numpy()


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
    """Raises an error within seconds where there is no network; TFDS takes minutes to fail."""
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


# Choosing what to read.


def _has_label(builder: Any) -> bool:
    import tensorflow_datasets

    features = builder.info.features
    return "label" in features and isinstance(
        features["label"], tensorflow_datasets.features.ClassLabel
    )


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


def source_split(builder: Any, split: str, columns: Sequence[str]) -> str:
    """Returns the first split of TFDS that has labels, else the last (ImageNet's test has none)."""
    present = [name for name in SPLIT_NAMES[split] if name in builder.info.splits]
    if split == "validation" and source_split(builder, "test", columns) in present:
        present = []
    if not present:
        raise MissingSplit(
            f"The dataset tfds:{builder.name} has no split for {split!r} "
            f"({' or '.join(SPLIT_NAMES[split])}); it has {', '.join(builder.info.splits)}."
        )
    for name in present[:-1]:
        if "label" not in columns or _read_all(builder, name, ["label"], 1)["label"][0] >= 0:
            return name
    return present[-1]


def _read_all(
    builder: Any, source: str, columns: Sequence[str], count: int | None = None
) -> dict[str, tf.Tensor]:
    """Returns {feature: tensor [N]} of the first `count` (or all) examples; images encoded."""
    split = builder.info.splits[source]
    if "image" in columns and split.num_bytes > MOST_BYTES:
        raise UserError(
            f"The split {source} of tfds:{builder.name} has {split.num_bytes / 2**30:.0f} GiB, "
            f"more than the {MOST_BYTES / 2**30:.0f} GiB that are kept in memory. Write its images "
            "to class folders (python -m training.convert_dataset) and use folder:PATH, which "
            "reads them from disk."
        )
    # One batch of all: tf.data moves the bytes into it, where Python would hold them twice.
    examples = _encoded(builder, source, columns)
    return examples.batch(count or split.num_examples).take(1).get_single_element()


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
