"""One process at a time in a folder."""

import contextlib
import errno
import os
import pathlib
import platform

from sassl_tf.files import make_folder
from training.engine.workdir import writable
from training.report.logs import say

try:
    import fcntl
except ImportError:  # on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".lock"
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}


class InUse(RuntimeError):
    """Another process works in the folder."""


@contextlib.contextmanager
def locked(folder, wanted=True):
    """Holds a folder, made if need be, for this process; another that asks for it gets an error.

    The lock is the operating system's, on a file `.lock`, and goes with the process however that
    ends. What a kill leaves is the file, which locks nothing. Over NFS it holds between hosts; on
    file systems that keep locks to one host (FUSE mounts such as gcsfuse) only within one, and on
    those that have none (Lustre without `flock`) not at all: then a line says so.

    Args:
        folder: of the run.
        wanted: False holds nothing, in workers that are not the chief.

    Raises:
        InUse: names the process that holds it, and its host.
    """
    if not wanted or fcntl is None:
        yield
        return
    folder = pathlib.Path(folder).expanduser()
    new = not folder.exists()
    with writable(folder):
        make_folder(folder)
        path = folder / LOCK_FILE
        number = _taken(path)
    try:
        os.truncate(number, 0)
        os.write(number, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # as long as it is ours
        os.close(number)
        if new:
            with contextlib.suppress(OSError):  # what failed at once leaves no empty folder
                folder.rmdir()


def _taken(path):
    """The number of the open file, locked."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT)
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
