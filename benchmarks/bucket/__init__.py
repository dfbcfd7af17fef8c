"""A stand-in for a bucket: a file system of TensorFlow that a compiler makes of `bucket.cc`.

No bucket can be reached by the tests and the benchmarks. This one is a local folder under the
scheme `bucket://`, with the habits of object stores and a delay for each read.
"""

import ctypes
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

import tensorflow as tf

from sassl_tf.errors import PackageError, UserError
from sassl_tf.typing import PathLike

SOURCE = pathlib.Path(__file__).parent / "bucket.cc"


def can_be_compiled() -> bool:
    """Returns whether there is a C++ compiler."""
    return shutil.which("g++") is not None


@functools.cache
def library() -> ctypes.CDLL:
    """Compiles the file system and registers it with this process's TensorFlow.

    Returns:
        The library, a `ctypes.CDLL`.

    Raises:
        ImportError: there is no compiler.
    """
    if not can_be_compiled():
        raise PackageError("The stand-in for a bucket needs the compiler g++; install it.")
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "bucket.so")
        command = ["g++", "-O1", "-shared", "-fPIC", "-std=c++17", "-o", file, str(SOURCE)]
        command += [f"-I{tf.sysconfig.get_include()}", *tf.sysconfig.get_link_flags()]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"{SOURCE} could not be compiled: {done.stderr}")
        tf.experimental.register_filesystem_plugin(file)
        loaded = ctypes.CDLL(file)
    loaded.bucket_reads.restype = loaded.bucket_most_at_once.restype = ctypes.c_int64
    return loaded


def mount(root: PathLike, read_ms: float = 0) -> None:
    """Makes `bucket://NAME/...` stand for `root/NAME/...`, in this process.

    Args:
        root: a local folder.
        read_ms: milliseconds that each read takes.
    """
    library()
    os.environ["BUCKET_ROOT"] = str(root)
    os.environ["BUCKET_READ_MS"] = str(read_ms)


def reads() -> int:
    """Returns the number of reads since the last call."""
    return int(library().bucket_reads())


def most_at_once() -> int:
    """Returns the largest number of reads that waited at the same time since the last call."""
    return int(library().bucket_most_at_once())
