"""Files, and folders, that are either whole or not there."""

import contextlib
import glob
import os
import pathlib
import platform
import shutil


@contextlib.contextmanager
def replacing(path):
    """Yields a path beside `path` to write to; at the end it takes the place of `path`.

    A reader never meets half a file, and a run that dies leaves the old one as it was.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_what_the_dead_left(path)
    beside = path.with_name(f"{_prefix(path)}{os.getpid()}{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        _remove(beside)


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
