"""A disk that forgets, at a power loss, what it was not told to keep.

    python -m tests.hostile.power FOLDER COPY MOMENT MODE FLAGS_OF_PRETRAIN

runs a pretraining in a workdir within FOLDER, stops it dead at the so-manieth flush, rename or
removal, and writes what the disk then holds to COPY.
"""

import contextlib
import itertools
import os
import pathlib
import runpy
import sys
from unittest import mock

# What may be lost that was not flushed: the contents of files, or their names.
CONTENTS, NAMES = "contents", "names"
OPERATIONS = ("fsync", "replace", "unlink", "rmdir")


class Disk:
    """Knows what was flushed of a folder, from the calls of `os.fsync`.

    A removal is on the disk at once, which is the worst case; everything else when it is flushed.

    Args:
        root: the folder.
        at_moment: called with this before and after each operation.
    """

    def __init__(self, root, at_moment):
        self._root, self._at_moment = pathlib.Path(root), at_moment
        self._numbers = itertools.count()
        self._known = {}  # inode: our own number, as inodes are used again
        self._contents, self._names = {}, {}  # number: bytes; number: {name: number}
        self._busy = False

    @contextlib.contextmanager
    def watching(self):
        with contextlib.ExitStack() as patches:
            for name in OPERATIONS:
                patches.enter_context(mock.patch.object(os, name, self._watched(name)))
            yield

    def _watched(self, name):
        real = getattr(os, name)

        def operation(*arguments, **options):
            self._moment()
            if name == "fsync":
                self._flushed(arguments[0])
            else:
                real(*arguments, **options)
            self._moment()

        return operation

    def _moment(self):
        if self._busy:
            return
        self._busy = True
        try:
            there = {path.lstat().st_ino for path in self._root.rglob("*")}
            self._known = {inode: n for inode, n in self._known.items() if inode in there}
            self._at_moment(self)
        finally:
            self._busy = False

    def _number(self, inode):
        return self._known.setdefault(inode, next(self._numbers))

    def _flushed(self, descriptor):
        path = pathlib.Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        number = self._number(path.stat().st_ino)
        if path.is_dir():
            self._names[number] = {
                file.name: self._number(file.lstat().st_ino) for file in path.iterdir()
            }
        else:
            self._contents[number] = path.read_bytes()

    def after_a_loss(self, mode):
        """{relative path: bytes, or None for a folder} that the disk holds."""
        return dict(self._within(self._root, mode, known=True))

    def _within(self, folder, mode, known=False):
        number = self._number(folder.stat().st_ino)
        flushed = self._names.get(number, {})
        for path in sorted(folder.iterdir()):
            number = self._number(path.lstat().st_ino)
            if mode == NAMES and not known:
                if path.name not in flushed:
                    continue
                if not path.is_dir():
                    number = flushed[path.name]
            name = str(path.relative_to(self._root))
            yield name, None if path.is_dir() else self._contents.get(number, b"")
            if path.is_dir():
                yield from self._within(path, mode)


def write(state, folder):
    """Makes a folder of what `Disk.after_a_loss` returned."""
    for name, content in state.items():
        path = pathlib.Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)


def main(folder, copy, moment, mode, *flags):
    moments = itertools.count(1)

    def stop(disk):
        if next(moments) == int(moment):
            write(disk.after_a_loss(mode), copy)
            os._exit(9)

    pathlib.Path(folder).mkdir()
    sys.argv[1:] = [f"--workdir={folder}/run", *flags]
    with Disk(folder, stop).watching():
        runpy.run_module("training.pretrain", run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
