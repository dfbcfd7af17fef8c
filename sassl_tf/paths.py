"""Paths of local files, and of files under URLs such as gs://bucket/name, with one interface."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from sassl_tf.errors import FileError
from sassl_tf.typing import PathLike

# TensorFlow's errors of a server that does not answer, or not to this user.
UNREACHABLE = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.UnauthenticatedError,
)


def is_url(path: PathLike) -> bool:
    """Returns whether a path is a URL, which TensorFlow's file systems read and write."""
    return "://" in os.fspath(path)


def as_path(path: PathLike) -> AnyPath:
    """Returns a `pathlib.Path`, its home folder written out; of a URL, a `RemotePath`."""
    return RemotePath(os.fspath(path)) if is_url(path) else pathlib.Path(path).expanduser()


@contextlib.contextmanager
def reading(path: PathLike) -> Iterator[None]:
    """Turns errors of TensorFlow's file systems, in a block that uses `path`, into one for people.

    Raises:
        OSError: names `path`, the reason, and what to do.
    """
    try:
        yield
    except tf.errors.OpError as error:
        from sassl_tf.files import short_reason

        reason = short_reason(error).rstrip(".")
        raise FileError(f"{path} cannot be read or written: {reason}.{_advice(path)}") from error


def _advice(path: PathLike) -> str:
    if not is_url(path):
        return " See that it is there, and that this user may read it."
    return (
        " See that the name of the bucket is right, that this machine reaches it, and that it has "
        "credentials: for gs://, gcloud auth application-default login or the variable "
        "GOOGLE_APPLICATION_CREDENTIALS; for s3://, the package tensorflow-io and AWS's variables."
    )


class RemoteStat(NamedTuple):
    """The size of a remote file in bytes, and its time in nanoseconds, as `os.stat` calls them."""

    st_size: int
    st_mtime_ns: int


class RemotePath(os.PathLike[str]):
    """A file or folder under a URL, with those methods of `pathlib.Path` that are used here.

    Buckets have no folders: a folder is there if something is in it, or if it was made.

    Args:
        url: such as "gs://bucket/runs/simclr".
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self._url = f"{scheme}://{rest.rstrip('/')}"

    def __fspath__(self) -> str:
        return self._url

    __str__ = __fspath__

    def __repr__(self) -> str:
        return f"RemotePath({self._url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __lt__(self, other: RemotePath) -> bool:
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash(self._url)

    def __truediv__(self, name: PathLike) -> RemotePath:
        return RemotePath(f"{self._url}/{os.fspath(name)}")

    @property
    def name(self) -> str:
        """The part after the last slash."""
        return self._url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The end of the name, from its last dot on."""
        return os.path.splitext(self.name)[1]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return os.path.splitext(self.name)[0]

    @property
    def parent(self) -> RemotePath:
        """The folder that it is in; of a bucket, the bucket itself."""
        above = self._url.rpartition("/")[0]
        return self if above.endswith("/") else RemotePath(above)

    def with_name(self, name: str) -> RemotePath:
        """Returns the path of another name in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> RemotePath:
        """Returns the path with another suffix."""
        return self.parent / (self.stem + suffix)

    def resolve(self) -> RemotePath:
        """Returns itself: buckets have no links."""
        return self

    def absolute(self) -> RemotePath:
        """Returns itself."""
        return self

    def expanduser(self) -> RemotePath:
        """Returns itself."""
        return self

    def exists(self) -> bool:
        """Returns whether a file or a folder is there."""
        with reading(self):
            return bool(tf.io.gfile.exists(self._url))

    def is_dir(self) -> bool:
        """Returns whether a folder is there."""
        # `isdir` takes a bucket that does not answer for one without the folder; `exists` raises.
        if not tf.io.gfile.isdir(self._url):
            self.exists()
            return False
        return True

    def is_file(self) -> bool:
        """Returns whether a file is there."""
        return self.exists() and not self.is_dir()

    def stat(self) -> RemoteStat:
        """Returns the size and the time of a file.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._found():
            found = tf.io.gfile.stat(self._url)
        return RemoteStat(found.length, found.mtime_nsec)

    def iterdir(self) -> Iterator[RemotePath]:
        """Yields what is in a folder.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._found():
            names = tf.io.gfile.listdir(self._url)
        for name in names:
            yield self / name.rstrip("/")

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Yields what matches a pattern of names and slashes, without `**`."""
        name, _, rest = pattern.partition("/")
        if not self.is_dir():
            return
        for path in self.iterdir():
            if fnmatch.fnmatchcase(path.name, name):
                if rest:
                    yield from path.glob(rest)
                else:
                    yield path

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Makes a folder and those above it, where the file system has folders."""
        with reading(self):
            tf.io.gfile.makedirs(self._url)

    def read_bytes(self) -> bytes:
        """Returns the content of a file.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._found(), tf.io.gfile.GFile(self._url, "rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Returns the content of a file as text.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self.read_bytes().decode(encoding, errors)

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes a file.

        Raises:
            FileNotFoundError: it is not there.
        """
        if missing_ok and not self.exists():
            return
        with self._found():
            tf.io.gfile.remove(self._url)

    @contextlib.contextmanager
    def _found(self) -> Iterator[None]:
        try:
            with reading(self):
                yield
        except FileError as error:
            if isinstance(error.__cause__, tf.errors.NotFoundError):
                text = os.strerror(errno.ENOENT)
                raise FileNotFoundError(errno.ENOENT, text, self._url) from error
            raise


AnyPath: TypeAlias = pathlib.Path | RemotePath
