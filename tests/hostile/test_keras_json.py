"""Settings in the user's `keras.json` that would turn images and networks inside out."""

import json
import os
import subprocess
import sys

import pytest

BUILD = """
import numpy as np
from training.command import binary
from training.encoders import build_encoder


def main(_):
    encoder = build_encoder("resnet6_slim")
    print(encoder(np.zeros((2, 32, 48, 3), np.float32)).shape)


binary.run(main)
"""


@pytest.mark.slow  # Keras reads it once, so in a process of its own, which imports KerasCV
def test_binaries_build_their_encoders_whatever_it_says(tmp_path):
    settings = {"image_data_format": "channels_first", "backend": "tensorflow"}
    (tmp_path / "keras.json").write_text(json.dumps({**settings, "floatx": "float32"}))
    run = subprocess.run(
        [sys.executable, "-c", BUILD],
        env={**os.environ, "KERAS_HOME": str(tmp_path), "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "(2, 96)" in run.stdout
