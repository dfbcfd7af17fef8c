"""Imports TensorFlow without the lines that it writes on every machine.

TensorFlow's C++ code writes them to standard error before any log level takes effect. They are
listed here and dropped; all other lines are passed on.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

NOISE = (
    "All log messages before absl::InitializeLog",
    "oneDNN custom operations are on",
    "Could not find cuda drivers on your machine",  # a run's summary names its devices
    "failed call to cuInit: .*UNKNOWN ERROR [(]303[)]",  # there is no driver at all
    "This TensorFlow binary is optimized to use available CPU instructions",
    "To enable the following instructions",
)


def import_tensorflow() -> None:
    """Imports TensorFlow and looks for devices, which is when the lines are written."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with without_noise():
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for a driver, and reports that there is none
    tf.get_logger().setLevel("ERROR")  # hides deprecation warnings about our dependencies


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Filters standard error through grep, which drops the lines of `NOISE`.

    The filter is a process of its own, so that the last lines of a process that aborts are not
    lost.
    """
    patterns = [f"--regexp={line}" for line in NOISE]
    command = ["grep", "--invert-match", "--line-buffered", "--extended-regexp", *patterns]
    try:
        # In a session of its own, so that Ctrl-C does not reach it.
        grep = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2, start_new_session=True)
    except OSError:  # a system without grep shows every line
        yield
        return
    assert grep.stdin is not None  # it is a pipe
    _flush_stderr()
    real = os.dup(2)
    os.dup2(grep.stdin.fileno(), 2)
    try:
        yield
    finally:
        _flush_stderr()
        os.dup2(real, 2)
        os.close(real)
        grep.stdin.close()
        grep.wait()


def _flush_stderr():
    with contextlib.suppress(OSError):  # its reader may be gone
        sys.stderr.flush()
