"""Files, and folders, that are either whole or not there: after a kill and a power loss too."""

import contextlib
import errno
import glob
import os
import pathlib
import platform
import re
import shutil

from sassl_tf.errors import FileError

MANY_FILES = 1000  # from which on all of the system's are flushed at once, which is sooner done
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}  # of a file system that flushes no folders


@contextlib.contextmanager
def replacing(path):
    """Yields a path beside `path` to write to; at the end it takes the place of `path`.

    A reader never meets half a file, and a run that dies leaves the old one as it was. What was
    written is on the disk before it gets its name, and the name is when this ends.

    Raises:
        OSError: the disk is full; names `path`.
    """
    path = pathlib.Path(path)
    with writing(path):
        make_folder(path.parent)
        _remove_what_the_dead_left(path)
        beside = path.with_name(f"{_prefix(path)}{os.getpid()}{path.suffix}")
        try:
            yield beside
            flush(beside)
            os.replace(beside, path)
            flush_names(path.parent)
        finally:
            _remove(beside)


@contextlib.contextmanager
def writing(path):
    """Around what writes `path`: an error that tells of a full disk becomes one for people.

    Libraries raise all kinds of errors for it, so its text is looked for too.

    Raises:
        OSError: the disk is full; names `path`.
    """
    try:
        yield
    except Exception as error:
        if not (why := _why_full(error)):
            raise
        raise FileError(
            f"{path} cannot be written: {why}. Make room, then give the same command again; what "
            "was whole before still is."
        ) from error


def _why_full(error):
    """The system's words for a full disk, if that is what an error, or its cause, tells of."""
    while error is not None:
        for number in FULL:
            words, text = os.strerror(number), str(error)
            own = isinstance(error, OSError) and error.errno == number
            if own or words in text or re.search(rf"errno = {number}\b", text):
                return words
        error = error.__cause__ or error.__context__
    return None


def short_reason(error):
    """The first line of an error: of a long one its beginning and its end, where the reason is."""
    line = str(error).partition("\n")[0]
    line = re.sub(r"^{{.*?}} *| *\[Op:.*", "", line)  # where in its graph TensorFlow was
    return line if len(line) <= 300 else f"{line[:100]} ... {line[-190:]}"


def make_folder(path):
    """Makes a folder, and those above it; their names are on the disk at the end."""
    path = pathlib.Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        flush_names(folder.parent)


def flush(path):
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


def flush_names(folder):
    """Waits until the names in a folder are on the disk, where the file system knows how to."""
    if os.name == "nt":  # opens no folders
        return
    try:
        _fsync(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in NO_FLUSH:
            raise


def _fsync(path, mode):
    number = os.open(path, mode)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _prefix(path):
    # With the machine's name: on a shared file system others have processes of the same number.
    return f".{path.stem}.{platform.node()}-"


def _remove_what_the_dead_left(path):
    """What processes of this machine that were killed had begun to write in the place of `path`."""
    prefix = _prefix(path)
    for left in path.parent.glob(f"{glob.escape(prefix)}*{glob.escape(path.suffix)}"):
        number = left.name[len(prefix) : len(left.name) - len(path.suffix)]
        if number.isdigit() and not _is_alive(int(number)):
            _remove(left)


def _is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
