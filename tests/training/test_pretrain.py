"""Pretraining as a user runs it: the binary, killed half way, and what it leaves behind."""

import pathlib
import re
import shutil
import signal
import time
import zipfile

import keras
import matplotlib.image
import numpy as np
import pytest

from tests import commands
from tests.conftest import SMOKE
from training.report.metrics import read_metrics

ROOT = pathlib.Path(__file__).parents[2]
TOTAL_STEPS = 12
# Pretraining that sends itself a signal after the row of metrics of a step.
SIGNALLED = """
import os, runpy, sys
step, number = int(sys.argv.pop(1)), int(sys.argv.pop(1))
from training.report.metrics import MetricsWriter
write = MetricsWriter.write
def write_and_signal(self, at, scalars):
    write(self, at, scalars)
    if at >= step:
        os.kill(os.getpid(), number)
MetricsWriter.write = write_and_signal
runpy.run_module("training.pretrain", run_name="__main__", alter_sys=True)
"""
METHODS = ["simclr", "byol", "moco", "barlow_twins", "vicreg", "moco_v3", "dino"]
# What depends on the step goes on where it was, too.
GROWING = "--config.sassl.blending_factor_end=(0.4, 1.0)"


def start(workdir, *flags, method="simclr"):
    config = f"--config=training/configs/{method}.py:smoke"
    return commands.start("training.pretrain", config, f"--workdir={workdir}", GROWING, *flags)


def wait(process):
    output, _ = process.communicate()
    return process.returncode, output


def run(workdir, *flags):
    return commands.run("training.pretrain", SMOKE, f"--workdir={workdir}", *flags)


def kill_after(process, workdir, steps, how=signal.SIGKILL):
    """Sends a signal as soon as a metrics row says that so many steps are done."""
    deadline = time.monotonic() + 240
    while not any(row["step"] >= steps for row in read_metrics(workdir)):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    process.wait()


def test_views_made_in_the_train_step_are_those_of_the_pipeline(smoke_run, tmp_path):
    """The rate of the first step is 0, so that the second has the loss of the initial weights."""
    done = run(tmp_path, "--config.augment_on=device", "--config.epochs=0.016")
    assert done.returncode == 0, done.stderr
    [first], [expected, *_] = (read_metrics(workdir) for workdir in (tmp_path, smoke_run[0]))
    assert first["step"] == 2 and first["loss"] == pytest.approx(expected["loss"], rel=1e-3)
    pictures = [
        matplotlib.image.imread(workdir / "views.png") for workdir in (tmp_path, smoke_run[0])
    ]
    np.testing.assert_allclose(*pictures, atol=4 / 255)  # a host may compute in bfloat16


def test_what_a_run_leaves_behind(smoke_run):
    workdir, output = smoke_run
    rows = read_metrics(workdir)
    assert [row["step"] for row in rows] == list(range(2, TOTAL_STEPS + 1, 2))
    for name in ("loss", "alignment", "uniformity", "learning_rate", "images_per_second"):
        assert all(np.isfinite(row[name]) for row in rows)
    # Warm-up from 0 over 11 of the 12 steps: each row has the rate that its step used.
    steps = np.array([row["step"] for row in rows])
    rates = [row["learning_rate"] for row in rows]
    np.testing.assert_allclose(rates, (steps - 1) / 11 * 0.001, rtol=1e-5)
    for row in rows:
        parts = row["input_wait_seconds"] + row["compute_seconds"]
        assert 0 <= row["input_wait_seconds"] < row["step_seconds"] == pytest.approx(parts)
    assert 0 <= rows[-1]["knn_accuracy"] <= 100 and 1 <= rows[-1]["effective_rank"] <= 256
    for name in ("config.json", "views.png", "encoder.keras", "checkpoints/ckpt-12.index"):
        assert (workdir / name).is_file()
    assert list(workdir.glob("events.out.tfevents.*"))
    assert "left" in output and "evaluation.linear_probe" in output
    assert not list(workdir.glob(".*"))  # nothing half-written


def test_the_encoder_is_plain_keras(smoke_run):
    path = smoke_run[0] / "encoder.keras"
    with zipfile.ZipFile(path) as file:
        config = file.read("config.json").decode()
    assert not any(word in config for word in ("keras_cv", "sassl", "training."))
    encoder = keras.saving.load_model(path)
    features = encoder(np.random.default_rng(0).random((2, 32, 32, 3), np.float32))
    assert features.shape == (2, 96) and np.isfinite(features).all()


def test_a_run_that_was_killed_stopped_and_damaged_ends_with_the_same_weights(small_run, tmp_path):
    """SIGKILL, then SIGTERM, which saves first; then the newest checkpoint is cut short.

    The whole run measured its input, which must change nothing.
    """
    whole, flags = small_run
    told = (whole.parent / "output.txt").read_text()
    assert re.search(r"input +[\d,]+ images/s by itself; the step takes [\d,]+ images/s\.", told)
    flags = (SMOKE, f"--workdir={tmp_path}", *flags)
    killed = commands.run_program(SIGNALLED, 6, int(signal.SIGKILL), *flags)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "encoder.keras").exists()
    stopped = commands.run_program(SIGNALLED, 20, int(signal.SIGTERM), *flags)
    output = stopped.stdout + stopped.stderr
    assert stopped.returncode == 143 and "Stopped by SIGTERM; step" in output, output
    assert "continuing at step" in output
    stopped = int(output.partition("SIGTERM; step ")[2].split()[0])
    assert stopped >= 20
    newest = tmp_path / f"checkpoints/ckpt-{stopped}.data-00000-of-00001"
    newest.write_bytes(newest.read_bytes()[:5000])
    done = commands.run("training.pretrain", *flags)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert f"ckpt-{stopped} is damaged" in output
    assert f"continuing at step {3 * ((stopped - 1) // 3)}" in output
    assert_same_encoder(tmp_path, whole)
    losses = [[row["loss"] for row in read_metrics(workdir)] for workdir in (tmp_path, whole)]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_a_run_in_parts_from_other_weights_is_continued_exactly(smoke_run, tmp_path):
    """It does not look for the weights to start from once it has a checkpoint."""
    other = tmp_path / "other.keras"
    shutil.copy(smoke_run[0] / "encoder.keras", other)
    flags = ("--config.accumulate=2", f"--config.encoder.init_from={other}")
    code, output = wait(start(tmp_path / "whole", *flags, method="byol"))
    assert code == 0 and "32, in 2 parts of 16" in output, output
    assert f"float32, from the weights of {other}" in output
    process = start(tmp_path / "stopped", *flags, method="byol")
    kill_after(process, tmp_path / "stopped", steps=4, how=signal.SIGTERM)
    other.unlink()
    code, output = wait(start(tmp_path / "stopped", *flags, method="byol"))
    assert code == 0 and "continuing at step" in output, output
    assert_same_encoder(tmp_path / "stopped", tmp_path / "whole")
    losses = [[r["loss"] for r in read_metrics(tmp_path / d)] for d in ("stopped", "whole")]
    assert losses[0] == losses[1]


def assert_same_encoder(workdir, expected):
    resumed, whole = (keras.saving.load_model(w / "encoder.keras") for w in (workdir, expected))
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_of_every_method(method, tmp_path):
    code, output = wait(start(tmp_path / "whole", method=method))
    assert code == 0, output
    process = start(tmp_path / "killed", method=method)
    kill_after(process, tmp_path / "killed", steps=8)
    code, output = wait(start(tmp_path / "killed", method=method))
    assert code == 0 and "continuing at step" in output, output
    assert_same_encoder(tmp_path / "killed", tmp_path / "whole")


def test_another_config_in_the_same_workdir_is_refused(small_run):
    workdir, flags = small_run
    done = run(workdir, *flags, "--config.optimizer.learning_rate=0.5")
    assert done.returncode == 1
    assert "optimizer.learning_rate: there 0.001, here 0.5" in done.stderr


def test_a_diverged_run_stops_before_it_is_saved(small_run, tmp_path):
    _, flags = small_run
    done = run(tmp_path, *flags, "--config.optimizer.learning_rate=1e30")
    assert done.returncode == 1 and "No checkpoint holds it" in done.stderr
    assert not list(tmp_path.glob("checkpoints/*")) and not (tmp_path / "encoder.keras").exists()
