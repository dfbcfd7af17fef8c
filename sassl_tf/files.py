"""Files and folders that are either whole or absent, also after a kill or a power loss."""

import contextlib
import errno
import functools
import glob
import hashlib
import os
import pathlib
import platform
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator

import tensorflow as tf

from sassl_tf.errors import FileError
from sassl_tf.paths import AnyPath, RemotePath, as_path, is_url, reading
from sassl_tf.typing import PathLike

DAY = 24 * 3600  # seconds
MANY_FILES = 1000  # from here on, flushing all files of the system at once is faster
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}  # where a file system flushes no folders


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write to, and renames it to `path` at the end.

    A reader never meets half a file, and a run that dies leaves the old file as it was. The content
    is on the disk before the file gets its name, and the name is on the disk when this returns.

    For a URL the path is that of a local file, which is uploaded at the end under another name and
    then gets its own; in buckets, where a rename is a copy, an object appears when it is whole.

    Raises:
        OSError: the disk is full, or the URL cannot be written; names `path`.
    """
    path = as_path(path)
    if isinstance(path, RemotePath):
        with tempfile.TemporaryDirectory(prefix="sassl_tf-") as folder:
            here = pathlib.Path(folder, path.name)
            yield here
            _upload(here, path)
        return
    with writing(path):
        make_folder(path.parent)
        _remove_leftovers(path)
        beside = path.with_name(f"{_prefix(path)}{_writer()}{path.suffix}")
        _remove(beside)  # a process that was killed may have had the same numbers
        try:
            yield beside
            flush(beside)
            os.replace(beside, path)
            flush_names(path.parent)
        finally:
            _remove(beside)


def _upload(here: pathlib.Path, path: RemotePath) -> None:
    check_holds_no_folders(path, here.is_dir())
    beside = path.with_name(f".{path.name}.{_machine()}-{_writer()}")
    with reading(path):
        path.parent.mkdir()
        tf.io.gfile.copy(str(here), str(beside), overwrite=True)
        tf.io.gfile.rename(str(beside), str(path), overwrite=True)


def check_holds_no_folders(path: PathLike, is_folder: bool = True) -> None:
    """Raises an OSError if `path` is a URL, where a whole folder cannot appear in one step."""
    if is_folder and is_url(path):
        raise FileError(
            f"{path} is in a bucket, where a folder cannot appear in one step. Write it to a local "
            "folder, and copy that (gcloud storage cp -r, aws s3 cp --recursive)."
        )


@contextlib.contextmanager
def local_file(path: PathLike) -> Iterator[pathlib.Path]:
    """Yields the path of a local file with the content of `path`: of a URL, a copy for this block.

    Raises:
        FileNotFoundError: there is no such URL.
    """
    path = as_path(path)
    if not isinstance(path, RemotePath):
        yield path
        return
    path.stat()  # a missing file is an error of its own
    with tempfile.TemporaryDirectory(prefix="sassl_tf-") as folder:
        here = pathlib.Path(folder, path.name)
        with reading(path):
            tf.io.gfile.copy(str(path), str(here))
        yield here


@contextlib.contextmanager
def writing(path: PathLike) -> Iterator[None]:
    """Turns errors of a full disk, in a block that writes `path`, into one that says what to do.

    Libraries raise many kinds of errors for a full disk, so messages are searched for it too.

    Raises:
        OSError: the disk is full; names `path`.
    """
    try:
        yield
    except Exception as error:
        if not (why := _why_full(error)):
            raise
        raise FileError(
            f"{path} cannot be written: {why}. Make room, then give the same command again. Files "
            "that were whole before are unchanged."
        ) from error


def _why_full(exception: Exception) -> str | None:
    """Returns the system's words for a full disk, if an error or its cause is one; else None."""
    error: BaseException | None = exception
    while error is not None:
        for number in FULL:
            words, text = os.strerror(number), str(error)
            own = isinstance(error, OSError) and error.errno == number
            if own or words in text or re.search(rf"errno = {number}\b", text):
                return words
        error = error.__cause__ or error.__context__
    return None


def short_reason(error: BaseException) -> str:
    """Returns the first line of an error, or its beginning and end, which has the reason."""
    line = str(error).strip().partition("\n")[0]
    line = re.sub(r"^{{.*?}} *| *\[Op:.*", "", line)  # where in its graph TensorFlow was
    return line if len(line) <= 300 else f"{line[:100]} ... {line[-190:]}"


def append(path: PathLike, text: str) -> None:
    """Adds text at the end of a file, and makes the file if it is not there.

    Names of files that are not UTF-8, as Python has them, keep their bytes.

    A file of a URL is read and written anew, as objects in buckets cannot be appended to.
    """
    path = as_path(path)
    if isinstance(path, RemotePath):
        before = path.read_text(errors="surrogateescape") if path.exists() else ""
        with replacing(path) as here:
            here.write_text(before + text, "utf-8", "surrogateescape")
        return
    with open(path, "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def make_folder(path: PathLike) -> None:
    """Makes a folder and those above it, and waits until their names are on the disk."""
    path = as_path(path)
    if isinstance(path, RemotePath):
        path.mkdir()
        return
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        flush_names(folder.parent)


def remove_folder(path: AnyPath) -> None:
    """Removes a folder with all that is in it, as far as that is possible."""
    if isinstance(path, RemotePath):
        with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.rmtree(str(path))
        return
    shutil.rmtree(path, ignore_errors=True)


def flush(path: PathLike) -> None:
    """Waits until a file, or a folder with all that is in it, is on the disk."""
    path = pathlib.Path(path)
    if not path.is_dir():
        _fsync(path, os.O_RDWR)
        return
    within = [*path.rglob("*")]
    if len(within) > MANY_FILES and hasattr(os, "sync"):
        os.sync()
        return
    for file in within:
        flush_names(file) if file.is_dir() else _fsync(file, os.O_RDWR)
    flush_names(path)


def flush_names(folder: PathLike) -> None:
    """Waits until the names in a folder are on the disk, where the file system can do that."""
    if os.name == "nt":  # opens no folders
        return
    try:
        _fsync(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in NO_FLUSH:
            raise


def _fsync(path: PathLike, mode: int) -> None:
    number = os.open(path, mode)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _prefix(path: pathlib.Path) -> str:
    return f".{path.stem}.{_machine()}-"


@functools.cache
def _machine() -> str:
    """Returns hexadecimal digits of this machine's name."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _writer() -> str:
    """Returns the numbers of this container, process and thread.

    Processes of other machines and containers that share a file system may have the same number.
    """
    return f"{_container()}-{os.getpid()}-{threading.get_native_id()}"


def _container() -> int:
    """Returns the number of the space that process numbers are counted in; 0 where it has none."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # not Linux
        return 0


def _remove_leftovers(path: pathlib.Path) -> None:
    """Removes what killed processes of this machine had begun to write in the place of `path`."""
    prefix = _prefix(path)
    for left in path.parent.glob(f"{glob.escape(prefix)}*{glob.escape(path.suffix)}"):
        writer = left.name[len(prefix) : len(left.name) - len(path.suffix)]
        if re.fullmatch(r"\d+-\d+-\d+", writer) and _is_left(left, *map(int, writer.split("-"))):
            with contextlib.suppress(OSError):  # it may be another user's
                _remove(left)


def _is_left(path: pathlib.Path, container: int, process: int, _: int) -> bool:
    """Returns whether the process that wrote a path is gone.

    Those of other containers are not seen from here: theirs is left if it is a day old.
    """
    if container == _container():
        return not _is_alive(process)
    parts = [path, *(path.rglob("*") if path.is_dir() else ())]
    times = [part.stat().st_mtime for part in parts if part.exists()]
    return time.time() - max(times, default=time.time()) > DAY


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # there, signal 0 is Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
