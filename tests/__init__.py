"""The tests. They use TensorFlow as the commands do: by oneDNN, and without its messages."""

import os

from training.command.startup import use_onednn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
use_onednn()
