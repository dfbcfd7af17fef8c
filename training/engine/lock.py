"""A lock on a folder, so that one process at a time works in it."""

import contextlib
import errno
import os
import platform
from collections.abc import Iterator

from sassl_tf.errors import UserError
from sassl_tf.files import make_folder
from sassl_tf.paths import RemotePath, as_path
from sassl_tf.typing import PathLike
from training.engine.workdir import LOCK_FILE, writable
from training.report.logs import say

try:
    import fcntl
except ImportError:  # on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}


class InUse(UserError):
    """Another process works in the folder."""


@contextlib.contextmanager
def locked(folder: PathLike, wanted: bool = True) -> Iterator[None]:
    """Reserves a folder for this process; another process that asks for it gets an error.

    The folder is made if it does not exist. The lock is the operating system's, on a file `.lock`,
    and ends with the process, however that ends; a file that a kill leaves behind locks nothing.
    Over NFS the lock holds between hosts. On file systems that keep locks to one host (FUSE mounts
    such as gcsfuse) it holds within that host. On those without locks (Lustre without `flock`)
    and for URLs there is none, and a line says so.

    Args:
        folder: the run's folder.
        wanted: False reserves nothing, for workers that are not the chief.

    Raises:
        InUse: another process holds the lock; the message names it and its host.
    """
    if not wanted or fcntl is None:
        yield
        return
    folder = as_path(folder)
    if isinstance(folder, RemotePath):
        say(f"{folder} cannot be locked, being in a bucket: see that no other run uses it.")
        yield
        return
    new = not folder.exists()
    path = folder / LOCK_FILE
    with writable(folder):
        number = _locked_file(path)
    try:
        os.truncate(number, 0)
        os.write(number, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while the lock is still held
        os.close(number)
        if new:
            with contextlib.suppress(OSError):  # a run that failed at once leaves no empty folder
                folder.rmdir()


def _locked_file(path):
    """Makes, opens and locks the file and its folder; returns its descriptor."""
    while True:
        make_folder(path.parent)
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            continue  # another process, which ends, has just removed the folder
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_LOCKS:
                say(f"{path.parent} cannot be locked ({error}): see that no other run uses it.")
                return number
            holder = os.read(number, 300).decode(errors="replace") or "another process"
            os.close(number)
            raise InUse(
                f"{path.parent} is in use by {holder}. Wait for it, stop it, or choose another "
                "folder."
            ) from error
        if _is(number, path):
            return number
        os.close(number)  # its holder has removed it between the two calls


def _is(number, path):
    try:
        return os.path.samestat(os.fstat(number), os.stat(path))
    except FileNotFoundError:
        return False
