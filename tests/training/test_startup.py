"""What importing our packages does to a program, and to a command."""

import os
import platform
import subprocess
import sys

import pytest

from tests.commands import ROOT
from training.command import startup

PROGRAM = """
import signal, subprocess, sys
def started(*_, **__):
    raise AssertionError("a process was started")
subprocess.Popen.__init__ = started
before = signal.getsignal(signal.SIGINT), sys.stderr
import benchmarks, evaluation, notebooks, training
assert before == (signal.getsignal(signal.SIGINT), sys.stderr)
print(*(name for name in ("tensorflow", "keras", "numpy") if name in sys.modules))
"""


@pytest.mark.parametrize("how", ["program", "module"])
def test_an_import_does_nothing_in_a_program_of_the_users(tmp_path, how):
    if how == "module":
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "__init__.py").write_text(PROGRAM)
        (tmp_path / "theirs" / "run.py").touch()
        command = ["-m", "theirs.run"]
    else:
        command = ["-c", PROGRAM]
    run = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "\n", ""), run.stderr


def test_commands_use_onednn_unless_told_otherwise(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "")  # so that what was there comes back
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    startup.use_onednn()
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    startup.use_onednn()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    startup.use_onednn()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
