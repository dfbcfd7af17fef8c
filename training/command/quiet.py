"""Imports TensorFlow without the lines that it writes on every machine.

Its C++ side writes them to the process's standard error before any log level holds. They are named
here and dropped; whatever else it has to say is passed on. The packages `training`, `evaluation`
and `benchmarks` import this first, so that it holds for all their binaries.
"""

import contextlib
import os
import subprocess
import sys

from training.command import startup  # noqa: F401, before all that takes time

NOISE = (
    "All log messages before absl::InitializeLog",
    "oneDNN custom operations are on",
    "Could not find cuda drivers on your machine",  # a run's summary names its devices
    "failed call to cuInit: .*UNKNOWN ERROR [(]303[)]",  # there is no driver at all
    "This TensorFlow binary is optimized to use available CPU instructions",
    "To enable the following instructions",
)


@contextlib.contextmanager
def without_noise():
    """Passes standard error through grep meanwhile: what is no noise comes out.

    Through another process, so that the last words of one that is aborted come out too.
    """
    patterns = [f"--regexp={line}" for line in NOISE]
    command = ["grep", "--invert-match", "--line-buffered", "--extended-regexp", *patterns]
    try:
        # In a session of its own, as Ctrl-C is not meant for it.
        grep = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2, start_new_session=True)
    except OSError:  # a system without it hears everything
        yield
        return
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
    with contextlib.suppress(OSError):  # nobody may read it any more
        sys.stderr.flush()


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with without_noise():
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for a driver, and says where it found none
tf.get_logger().setLevel("ERROR")  # deprecations and the like, of what our dependencies do
