"""A file that grows line by line: on a disk, or in a bucket, where nothing can be appended to."""

import pathlib
import time
from typing import Protocol

from sassl_tf.files import flush, replacing, writing
from sassl_tf.paths import AnyPath, RemotePath

UPLOAD_EVERY = 30.0  # seconds


class Lines(Protocol):
    """The interface of both."""

    def begin(self, text: str) -> None:
        """Writes the file anew."""

    def add(self, line: str) -> None:
        """Adds a line, which ends with a newline."""

    def flush(self) -> None:
        """Writes what is not written yet."""


def lines_of(path: AnyPath) -> Lines:
    """Returns the `Lines` of a path."""
    return _Uploaded(path) if isinstance(path, RemotePath) else _Appended(path)


class _Appended:
    """Lines that are on the disk as soon as they are added."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def begin(self, text: str) -> None:
        with replacing(self._path) as beside:
            beside.write_text(text, "utf-8")

    def add(self, line: str) -> None:
        with writing(self._path):
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(line)
            flush(self._path)

    def flush(self) -> None:
        pass


class _Uploaded:
    """Lines that are uploaded together, all of them again, at most every `UPLOAD_EVERY` seconds."""

    def __init__(self, path: RemotePath) -> None:
        self._path, self._text, self._uploaded, self._time = path, "", "", 0.0

    def begin(self, text: str) -> None:
        self._text = text
        self._upload()

    def add(self, line: str) -> None:
        self._text += line
        if time.monotonic() >= self._time + UPLOAD_EVERY:
            self._upload()

    def flush(self) -> None:
        if self._text != self._uploaded:
            self._upload()

    def _upload(self) -> None:
        with replacing(self._path) as here:
            here.write_text(self._text, "utf-8")
        self._uploaded, self._time = self._text, time.monotonic()
