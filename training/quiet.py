"""Imports TensorFlow without the lines that it writes on every machine.

Its C++ side writes them to the process's standard error before any log level holds. They are named
here and dropped; whatever else it has to say, such as a GPU driver's complaint, is passed on. The
packages `training` and `evaluation` import this first, so that it holds for all their binaries.
"""

import contextlib
import os
import re
import sys
import tempfile

NOISE = re.compile(
    "All log messages before absl::InitializeLog"
    "|oneDNN custom operations are on"
    "|Could not find cuda drivers on your machine"  # a run's summary names its devices
    r"|failed call to cuInit: .*UNKNOWN ERROR \(303\)"  # there is no driver at all
    "|This TensorFlow binary is optimized to use available CPU instructions"
    "|To enable the following instructions"
)


@contextlib.contextmanager
def without_noise():
    """Holds back what is written to standard error meanwhile, and passes on what is no noise."""
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if not NOISE.search(line):
                    print(line, file=sys.stderr)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with without_noise():
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for a driver, and says where it found none
