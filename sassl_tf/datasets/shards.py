"""Shards: large files that each hold many records, and the places of the records in them.

The places are found once, by reading every shard from its begin to its end, and kept in
`$SASSL_CACHE` (else `~/.cache/sassl_tf`). The sizes and times of the shards are kept with them, so
that a shard that was replaced is read again, and no other.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sassl_tf.checked import cached, read_arrays, write_arrays
from sassl_tf.datasets.cache import cache_folder
from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.errors import FileError
from sassl_tf.paths import AnyPath, as_path, is_url, reading

AT_ONCE = 32  # requests for the sizes of files
FORMAT = 1  # of the places on disk; raise it whenever `Places` changes


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of records, as it was when it was looked at.

    Attributes:
        path: of the file; a URL where it is in a bucket.
        size: in bytes.
        time: of its last change, in nanoseconds.
    """

    path: str
    size: int
    time: int


@dataclasses.dataclass(frozen=True, eq=False)
class Places:
    """The places of the N records of a shard, in order, the bad ones included.

    Attributes:
        offsets: int64 [N], the byte at which each record begins.
        lengths: int64 [N], the number of bytes of its content.
        labels: int64 [N]; -1 where there is no label.
        good: bool [N], whether it holds an image that can be decoded.
    """

    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]
    good: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.offsets)


COLUMNS = tuple(field.name for field in dataclasses.fields(Places))


def absolute(path: str) -> str:
    """Returns a path with its home and current folder written out; URLs as they are."""
    return path if is_url(path) else os.path.abspath(os.path.expanduser(path))


def matching(pattern: str) -> list[str]:
    """Returns the sorted paths of the files that match a pattern such as `train-*.tfrecord`.

    Raises:
        OSError: the place cannot be listed, such as a bucket without credentials.
    """
    with reading(pattern):
        found = [path for path in tf.io.gfile.glob(pattern) if not tf.io.gfile.isdir(path)]
        if not found:  # a place that cannot be listed may look like an empty one
            tf.io.gfile.exists(os.path.dirname(pattern))
    return sorted(found)


def look_at(paths: Sequence[str]) -> list[Shard]:
    """Returns the shards at `paths`, with their sizes and times.

    Raises:
        OSError: one cannot be read; names it.
    """
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(_look_at, paths))


def _look_at(path: str) -> Shard:
    try:
        found = as_path(path).stat()  # of a local file: TensorFlow's times are whole seconds
    except FileError:
        raise  # it names the path and the reason
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}). Put it back.") from error
    return Shard(path, found.st_size, found.st_mtime_ns)


def check_can_be_opened(paths: Sequence[str]) -> None:
    """Raises an OSError that names a file if there is one that cannot be read."""

    def read_a_byte(path: str) -> None:
        with reading(path), tf.io.gfile.GFile(path, "rb") as file:
            file.read(1)

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(read_a_byte, paths))


def places_of(
    shards: Sequence[Shard],
    kind: str,
    scan: Callable[[Sequence[Shard]], list[Places]],
) -> list[Places]:
    """Returns the places of the records of each shard: those remembered, the others by `scan`.

    Args:
        shards: in the order of the dataset.
        kind: all that decides what `scan` returns for a shard, as text.
        scan: returns the `Places` of each of some shards.
    """
    key = fingerprint_of(FORMAT, tf.__version__, kind, *(shard.path for shard in shards))
    file = cache_folder() / f"records-{key}.npz"
    known = _remembered(file)
    missing = [shard for shard in shards if shard not in known]
    if missing:
        if known:
            some = ", ".join(shard.path for shard in missing[:3]) + ", ..." * (len(missing) > 3)
            warnings.warn(
                f"{len(missing)} of {len(shards)} shards are others than when they were last "
                f"read, and are read again: {some}",
                stacklevel=4,
            )
        known.update(zip(missing, scan(missing), strict=True))
        with contextlib.suppress(OSError):  # without a cache the next start only takes longer
            _remember(file, {shard: known[shard] for shard in shards})
    return [known[shard] for shard in shards]


def _remembered(file: AnyPath) -> dict[Shard, Places]:
    try:
        stored = cached(read_arrays, file)
    except OSError:
        return {}
    if stored is None:
        return {}
    ends = np.cumsum(stored["counts"])
    columns = [np.split(stored[name], ends[:-1]) for name in COLUMNS]
    shards = zip(stored["paths"], stored["sizes"], stored["times"], strict=True)
    return {
        Shard(str(path), int(size), int(time)): Places(*parts)
        for (path, size, time), *parts in zip(shards, *columns, strict=True)
    }


def _remember(file: AnyPath, known: dict[Shard, Places]) -> None:
    columns = {
        name: np.concatenate([getattr(places, name) for places in known.values()])
        for name in COLUMNS
    }
    write_arrays(
        file,
        paths=np.array([shard.path for shard in known]),
        sizes=np.array([shard.size for shard in known], np.int64),
        times=np.array([shard.time for shard in known], np.int64),
        counts=np.array([len(places) for places in known.values()], np.int64),
        **columns,
    )
