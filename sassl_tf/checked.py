"""Files of numbers and settings with checksums, so that reading them detects damage.

JSON has a checksum under the key "checksum"; an `.npy` has one after its data, where NumPy does
not look; an `.npz` is a zip file, which has one for each array. All are written by `replacing`.
"""

import contextlib
import hashlib
import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from sassl_tf.errors import FileError, UserError
from sassl_tf.files import local_file, replacing
from sassl_tf.paths import as_path
from sassl_tf.typing import PathLike

CHECKSUM = "checksum"
DIGEST_BYTES = hashlib.sha256().digest_size
CHUNK = 1 << 20

_Content = TypeVar("_Content")
_Path = TypeVar("_Path", bound=PathLike)


class Damaged(UserError):
    """The error for a file that is not as it was written. `found` is its message without advice."""

    def __init__(self, path: PathLike, reason: str) -> None:
        self.found = f"{path} is damaged ({reason})."
        super().__init__(
            f"{self.found} Take it from a backup, or remove it and have it written again; if you "
            f'changed it on purpose, remove its "{CHECKSUM}" alone.'
        )


def cached(read: Callable[[_Path], _Content], path: _Path) -> _Content | None:
    """Reads a file whose content can be computed again.

    Returns:
        `read(path)`; None where the file is not there, or, with a warning, where it is damaged.
    """
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except Damaged as damage:
        warnings.warn(f"{damage.found} Its content is computed again.", stacklevel=3)
        return None


def write_json(path: PathLike, content: Mapping[Any, Any], indent: int | None = 2) -> None:
    """Writes a dict of JSON's types, with its checksum."""
    plain = json.loads(json.dumps(content))  # keys become strings, as they are when it is read
    plain.pop(CHECKSUM, None)  # of a file that it was read from by other means
    checked = {**plain, CHECKSUM: _checksum(plain)}
    with replacing(path) as beside:
        beside.write_text(json.dumps(checked, indent=indent) + "\n", "utf-8")


def read_json(path: PathLike) -> Any:
    """Returns what `write_json` wrote, without its checksum. A file made by hand may have none.

    Raises:
        Damaged: it is no JSON, or has another content than was written.
        FileNotFoundError: it is not there.
    """
    try:
        content = json.loads(as_path(path).read_text("utf-8"))
    except FileError:  # a bucket that does not answer
        raise
    except ValueError as error:
        raise Damaged(path, f"it is no JSON: {error}") from error
    if isinstance(content, dict) and CHECKSUM in content:
        expected = content.pop(CHECKSUM)
        if expected != _checksum(content):
            raise Damaged(path, f"its checksum is not {expected}")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def new_array(
    path: PathLike, shape: Sequence[int], dtype: DTypeLike = np.float32
) -> Iterator[np.memmap]:
    """Yields an array on disk to fill, and stores it as `path`; it may be larger than memory.

    Raises:
        OSError: the disk has too little room.
    """
    with replacing(path) as beside:
        array = np.lib.format.open_memmap(beside, "w+", dtype, tuple(shape))
        with open(beside, "r+b") as file:
            if hasattr(os, "posix_fallocate"):
                # A full disk is an error here; while the memory map is filled, it would kill us.
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            yield array
            array.flush()
            file.write(_digest(file, os.fstat(file.fileno()).st_size))


def write_array(path: PathLike, array: np.ndarray) -> None:
    """Writes an array [N, ...] as an `.npy` file with its checksum."""
    with new_array(path, array.shape, array.dtype) as new:
        new[:] = array


def read_array(path: PathLike) -> np.ndarray:
    """Returns what `write_array` or `new_array` wrote, as a read-only memory map.

    Raises:
        Damaged: it has another content than was written.
        FileNotFoundError: it is not there.
    """
    with local_file(path) as local:  # the map holds a copy that is removed after this
        with open(local, "rb") as file:
            size = max(0, os.fstat(file.fileno()).st_size - DIGEST_BYTES)
            if _digest(file, size) != file.read():
                raise Damaged(path, "its checksum is not that of its content")
        return np.load(local, mmap_mode="r", allow_pickle=False)


def _digest(file: BinaryIO, size: int) -> bytes:
    """Returns the digest of the first `size` bytes of an open file, and leaves it after them."""
    digest = hashlib.sha256()
    file.seek(0)
    while size:
        chunk = file.read(min(CHUNK, size))
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()


def write_arrays(path: PathLike, **arrays: Any) -> None:
    """Writes arrays by their names as an `.npz` file."""
    with replacing(path) as beside, open(beside, "wb") as file:
        np.savez(file, **arrays)


def read_arrays(path: PathLike) -> dict[str, np.ndarray]:
    """Returns what `write_arrays` wrote, as a dict.

    Raises:
        Damaged: it is no `.npz` file, or has another content than was written.
        FileNotFoundError: it is not there.
    """
    try:
        with local_file(path) as local:
            with zipfile.ZipFile(local) as archive:
                names = archive.namelist()
            with np.load(local, allow_pickle=False) as file:
                return {name.removesuffix(".npy"): file[name] for name in names}
    except OSError:
        raise  # it is not there, or may not be read; damage has other types
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise Damaged(path, "its checksums are not those of its content") from error
