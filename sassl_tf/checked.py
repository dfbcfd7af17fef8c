"""Our own files of numbers and settings, whose damage shows when they are read.

JSON has a checksum under the key "checksum", an `.npy` has one after its data, where NumPy does
not look, and in an `.npz` zip keeps one of each array. All are written by `replacing`.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import warnings
import zipfile
import zlib

import numpy as np

from sassl_tf.errors import UserError
from sassl_tf.files import replacing

CHECKSUM = "checksum"
DIGEST_BYTES = hashlib.sha256().digest_size
CHUNK = 1 << 20


class Damaged(UserError):
    """A file of ours is not as it was written; `found` is the message without the advice."""

    def __init__(self, path, reason):
        self.found = f"{path} is damaged ({reason})."
        super().__init__(
            f"{self.found} Take it from a backup, or remove it and have it written again; if you "
            f'changed it on purpose, remove its "{CHECKSUM}" alone.'
        )


def cached(read, path):
    """`read(path)` of what can be computed again: None where it is not there, or is damaged.

    A damaged one is warned of.
    """
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except Damaged as damage:
        warnings.warn(f"{damage.found} What was in it is computed again.", stacklevel=3)
        return None


def write_json(path, content, indent=2):
    """Writes a dict of what JSON knows, with its checksum."""
    content = json.loads(json.dumps(content))  # keys are strings, as they are when it is read
    checked = {**content, CHECKSUM: _checksum(content)}
    with replacing(path) as beside:
        beside.write_text(json.dumps(checked, indent=indent) + "\n", "utf-8")


def read_json(path):
    """Returns what `write_json` wrote, without its checksum; files by hand may have none.

    Raises:
        Damaged: it is no JSON, or has another content than was written.
        FileNotFoundError: it is not there.
    """
    try:
        content = json.loads(pathlib.Path(path).read_text("utf-8"))
    except ValueError as error:
        raise Damaged(path, f"it is no JSON: {error}") from error
    if isinstance(content, dict) and CHECKSUM in content:
        expected = content.pop(CHECKSUM)
        if expected != _checksum(content):
            raise Damaged(path, f"its checksum is not {expected}")
    return content


def _checksum(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def new_array(path, shape, dtype=np.float32):
    """Yields an array on disk to fill, which is then `path`; it may be larger than memory.

    Raises:
        OSError: the disk has not so much room.
    """
    with replacing(path) as beside:
        array = np.lib.format.open_memmap(beside, "w+", dtype, shape)
        with open(beside, "r+b") as file:
            if hasattr(os, "posix_fallocate"):
                # A full disk is an error now; within a memory map it would kill the process.
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            yield array
            array.flush()
            file.write(_digest(file, os.fstat(file.fileno()).st_size))


def write_array(path, array):
    """Writes an array [N, ...] as an `.npy` file with its checksum."""
    with new_array(path, array.shape, array.dtype) as new:
        new[:] = array


def read_array(path):
    """Returns what `write_array` or `new_array` wrote, as a read-only memory map.

    Raises:
        Damaged: it has another content than was written.
        FileNotFoundError: it is not there.
    """
    with open(path, "rb") as file:
        size = max(0, os.fstat(file.fileno()).st_size - DIGEST_BYTES)
        if _digest(file, size) != file.read():
            raise Damaged(path, "its checksum is not that of its content")
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _digest(file, size):
    """Of the first `size` bytes of an open file, after which it stands then."""
    digest = hashlib.sha256()
    file.seek(0)
    while size:
        chunk = file.read(min(CHUNK, size))
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()


def write_arrays(path, **arrays):
    """Writes arrays by their names as an `.npz` file."""
    with replacing(path) as beside, open(beside, "wb") as file:
        np.savez(file, **arrays)


def read_arrays(path):
    """Returns what `write_arrays` wrote, as a dict.

    Raises:
        Damaged: it is no `.npz` file, or has another content than was written.
        FileNotFoundError: it is not there.
    """
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
        with np.load(path, allow_pickle=False) as file:
            return {name.removesuffix(".npy"): file[name] for name in names}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise Damaged(path, "its checksums are not those of its content") from error
