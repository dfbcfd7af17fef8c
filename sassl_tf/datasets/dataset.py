"""The interface of every dataset of images."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from sassl_tf.datasets.decoding import decode_image
from sassl_tf.errors import FileError, UserError
from sassl_tf.files import short_reason
from sassl_tf.paths import UNREACHABLE
from sassl_tf.typing import Array

SPLITS = ("train", "test", "validation")
# The names that a split may have among record files and in TFDS; the first that is there counts.
SPLIT_NAMES = {
    "train": ("train",),
    "test": ("test", "validation", "val"),
    "validation": ("validation", "val"),
}
UNLABELLED = -1
# A read takes up to 50 ms from a bucket, and TensorFlow's reader asks twice for a record. So this
# many give 640 images/s there. Each holds an encoded image in memory.
READS_IN_FLIGHT = 64


class MissingSplit(UserError):
    """The error for a dataset that exists, but has no such split."""


class DamagedImages(UserError):
    """The error for image files that are gone or damaged since the dataset was loaded."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images and labels with random access from inside a TensorFlow graph.

    Random access lets an input pipeline be a pure function of (seed, step): it shuffles numbers
    instead of a buffer of images. `example` and `image` consist of TensorFlow operations alone, so
    they work under `tf.data.Dataset.map(dataset.example, num_parallel_calls=tf.data.AUTOTUNE)`.

    Attributes:
        name: of the dataset, such as `"shapes"` or `"folder:pets"`.
        split: `"train"`, `"test"` or `"validation"`.
        class_names: one name per label, in the order of the labels; empty when unlabelled.
        labels: int64 [N], indices into `class_names`; -1 where there is no label.
        fingerprint: short hexadecimal hash of the content; of files also of their times.
        read: int64 [] tensor to uint8 [H, W, 3] tensor; `image` calls it.
        listing: short hexadecimal hash of the order of the images, the same for every copy of the
            data. Of files it has names and sizes, and not their times.
        damaged: returns the paths of the files that could be read once and cannot now.
        files: the paths of the image files within their folder, in the order of the images; empty
            where the images are no files.
        encoded: int64 [] tensor to string [] tensor, the image as it is stored; it waits for a disk
            or a network and needs no processor. None where images are in memory.
        encoded_run: int64 [W] tensor of neighbours (see `Records.read_run`) to string [W] tensor,
            by fewer reads than `encoded` takes; None where there is no such way.
    """

    name: str
    split: str
    class_names: list[str]
    labels: np.ndarray
    fingerprint: str
    read: Callable[[tf.Tensor], tf.Tensor]
    listing: str = ""
    damaged: Callable[[], list[str]] = list
    files: Sequence[str] = ()
    encoded: Callable[[tf.Tensor], tf.Tensor] | None = None
    encoded_run: Callable[[tf.Tensor], tf.Tensor] | None = None
    _labels: tf.Tensor = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "listing", self.listing or self.fingerprint)
        labels = np.asarray(self.labels, np.int64)
        object.__setattr__(self, "labels", labels)
        # `example` captures this tensor. One made there would be written into every graph.
        object.__setattr__(self, "_labels", on_host(labels))

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int | Array) -> tf.Tensor:
        """Returns one image as uint8 [H, W, 3] in [0, 255].

        Args:
            index: a scalar integer in [0, N), a tensor or a number.

        Raises:
            tf.errors.InvalidArgumentError: `index` is outside [0, N).
        """
        with tf.device("/CPU:0"):  # there an index out of range is an error, not zeros
            image = self.read(tf.cast(index, tf.int64))
            return tf.ensure_shape(image, [None, None, 3])

    def fetch(self, index: tf.Tensor) -> tf.Tensor:
        """Does the part of `image` that waits and needs no processor; `decode` does the rest.

        Call it with many parallel calls (`READS_IN_FLIGHT`), and `decode` with as many as there are
        cores.

        Args:
            index: int64 [].
        """
        return index if self.encoded is None else self.encoded(index)

    def fetch_run(self, indices: tf.Tensor) -> tf.Tensor:
        """Returns [W] results of `fetch` for neighbouring images, by few reads where possible.

        Args:
            indices: int64 [W], each but the first one more than that before it, or 0.
        """
        if self.encoded_run is not None:
            return self.encoded_run(indices)
        if self.encoded is None:
            return indices
        return for_each(self.encoded, indices)

    def decode(self, fetched: tf.Tensor) -> tf.Tensor:
        """Returns the image, uint8 [H, W, 3] in [0, 255], of what `fetch` returned."""
        with tf.device("/CPU:0"):
            image = self.read(fetched) if self.encoded is None else decode_image(fetched)
            return tf.ensure_shape(image, [None, None, 3])

    def example(self, index: int | Array) -> dict[str, tf.Tensor]:
        """Returns `{"image": uint8 [H, W, 3] in [0, 255], "label": int64 []}`.

        Args:
            index: a scalar integer in [0, N), a tensor or a number.

        Raises:
            tf.errors.InvalidArgumentError: `index` is outside [0, N).
        """
        return {"image": self.image(index), "label": self.label(index)}

    def label(self, index: int | Array) -> tf.Tensor:
        """Returns the label of an image as int64 []; see `example`."""
        with tf.device("/CPU:0"):
            return tf.gather(self._labels, tf.cast(index, tf.int64))

    def subset(self, indices: ArrayLike) -> ImageDataset:
        """Returns the ImageDataset of the images at `indices`, in that order; repeats are allowed.

        Args:
            indices: integers [M] in [0, N).

        Raises:
            ValueError: an index is no integer or outside [0, N), or `indices` is not 1-D.
        """
        chosen = _checked_indices(indices, len(self))
        positions, encoded = on_host(chosen), self.encoded
        return dataclasses.replace(
            self,
            labels=self.labels[chosen],
            fingerprint=fingerprint_of(self.fingerprint, chosen.tobytes()),
            read=lambda index: self.read(tf.gather(positions, index)),
            listing=fingerprint_of(self.listing, chosen.tobytes()),
            files=[self.files[index] for index in chosen] if self.files else (),
            encoded=encoded and (lambda index: encoded(tf.gather(positions, index))),
            encoded_run=None,
        )


@contextlib.contextmanager
def naming_damaged(*datasets: ImageDataset) -> Iterator[None]:
    """Adds the names of damaged images to an error of TensorFlow that they caused.

    TensorFlow's own message says what is wrong with an image, but not with which image.

    Raises:
        DamagedImages: files of the datasets are gone or damaged.
        OSError: they are in a bucket that does not answer.
    """
    try:
        yield
    except Exception as error:
        cause = error if isinstance(error, tf.errors.OpError) else error.__cause__
        if not isinstance(cause, tf.errors.OpError):
            raise
        if isinstance(cause, UNREACHABLE):
            if isinstance(error, UserError):
                raise  # it says what did not answer, which need not be the images
            raise FileError(
                f"The images cannot be read now: {short_reason(cause)}. The same command continues "
                "when they can be."
            ) from error
        paths = sorted({path for dataset in datasets for path in dataset.damaged()})
        if not paths:
            raise
        raise DamagedImages(
            f"{len(paths)} images could be read at the start and cannot be read now: "
            f"{', '.join(paths[:5])}{', ...' * (len(paths) > 5)}. Put them back as they were, and "
            "the same command continues. Without them the dataset is another: a training needs a "
            "new --workdir."
        ) from error


def joined(first: ImageDataset, second: ImageDataset) -> ImageDataset:
    """Returns an `ImageDataset` of the images of two, which have the same classes.

    Raises:
        ValueError: their classes differ.
    """
    if first.class_names != second.class_names:
        raise UserError(f"{first.name} and {second.name} have different classes.")
    count = len(first)
    return dataclasses.replace(
        first,
        labels=np.concatenate([first.labels, second.labels]),
        fingerprint=fingerprint_of(first.fingerprint, second.fingerprint),
        read=_of_both(first.read, second.read, count),
        listing=fingerprint_of(first.listing, second.listing),
        damaged=lambda: [*first.damaged(), *second.damaged()],
        files=[*first.files, *second.files],
        encoded=(
            _of_both(first.encoded, second.encoded, count)
            if first.encoded and second.encoded
            else None
        ),
        encoded_run=None,
    )


def _of_both(
    first: Callable[[tf.Tensor], tf.Tensor], second: Callable[[tf.Tensor], tf.Tensor], count: int
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function of an index that is `first` below `count`, and from there on `second`."""
    return lambda index: tf.cond(index < count, lambda: first(index), lambda: second(index - count))


def for_each(read: Callable[[tf.Tensor], tf.Tensor], indices: tf.Tensor) -> tf.Tensor:
    """Returns the results of `read` for `indices`, int64 [W] of known W, all at the same time.

    Calls of `read` one after another in one graph would wait for each other, because TensorFlow
    keeps the order of operations that have a state, and a dataset's element is one of these.
    """
    width = indices.shape[0]
    results = tf.data.Dataset.from_tensor_slices(indices).map(read, num_parallel_calls=width)
    return results.batch(width, drop_remainder=True).get_single_element()


def fingerprint_of(*parts: object) -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of `parts`, in order: bytes, or their `str`."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else os_bytes(str(part))
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:16]


def os_bytes(text: str) -> bytes:
    """Returns `text` as bytes; file names that are not UTF-8 keep the bytes they have on disk."""
    return text.encode("utf-8", "surrogateescape")


def on_host(values: ArrayLike) -> tf.Tensor:
    """Returns `values` as a tensor in host memory, where tf.data reads it without a copy."""
    with tf.device("/CPU:0"):
        return tf.constant(values)


def check_split(split: str) -> None:
    """Raises ValueError unless `split` is "train", "test" or "validation"."""
    if split not in SPLITS:
        raise UserError(f"The split is {split!r}; the splits are {', '.join(SPLITS)}.")


def _checked_indices(values: ArrayLike, count: int) -> NDArray[np.int64]:
    indices = np.asarray(values)
    if indices.size == 0:
        indices = indices.astype(np.int64)
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
        raise UserError(
            f"The indices of a subset are {indices.dtype} of shape {indices.shape}; "
            "give a list of integers (np.flatnonzero makes one of a mask)."
        )
    indices = indices.astype(np.int64)
    outside = indices[(indices < 0) | (indices >= count)]
    if outside.size:
        raise UserError(
            f"Index {outside[0]} is outside the dataset; give indices from 0 to {count - 1}."
        )
    return indices
