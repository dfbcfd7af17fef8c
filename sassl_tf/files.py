"""Files, and folders, that are either whole or not there."""

import contextlib
import os
import pathlib
import shutil


@contextlib.contextmanager
def replacing(path):
    """Yields a path beside `path` to write to; at the end it takes the place of `path`.

    A reader never meets half a file, and a run that dies leaves the old one as it was.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside)
        beside.unlink(missing_ok=True)
