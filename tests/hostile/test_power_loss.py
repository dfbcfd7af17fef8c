"""What a power loss leaves, at every flush, rename and removal; see `tests.hostile.power`."""

import random
import subprocess
import sys

import numpy as np
import pytest

from sassl_tf import checked
from tests.hostile import power
from tests.training.test_checkpoints import model, restored
from tests.training.test_pretrain import ROOT, assert_same_encoder, start, wait
from training.engine.checkpoints import Checkpoints, state_of
from training.report.metrics import read_metrics

MODES = power.CONTENTS, power.NAMES
MOMENTS = (5, 30, 45, 60, 70, 80)


def checking(root, scratch, check):
    """A `Disk` that calls `check(folder)` with each different state that a loss may leave."""
    seen = []

    def at_moment(disk):
        for mode in MODES:
            state = disk.after_a_loss(mode)
            if state not in seen:
                seen.append(state)
                power.write(state, scratch / str(len(seen)))
                check(scratch / str(len(seen)))

    return power.Disk(root, at_moment), seen


def save_three_steps(tmp_path):
    """Three checkpoints, of which one is kept; at any moment the last one must be restored."""
    root, network, done = tmp_path / "disk", model(), [0]
    (root / "run").mkdir(parents=True)

    def check(folder):
        step, value = restored(folder / "run")
        assert step == value and step in (done[-1], done[-1] + 1)

    disk, seen = checking(root, tmp_path / "scratch", check)
    with disk.watching():
        checkpoints = Checkpoints(root / "run", state_of(network), keep=1)
        for step in (1, 2, 3):
            network.layers[0].bias.assign(np.full(2000, step))
            checkpoints.save(step)
            done.append(step)
    return seen


def test_a_power_loss_while_checkpoints_are_written(tmp_path):
    assert len(save_three_steps(tmp_path)) > 15


@pytest.mark.parametrize("forgotten", ["flush", "flush_names"])
def test_the_disk_above_notices_what_is_not_flushed(tmp_path, monkeypatch, forgotten):
    monkeypatch.setattr(f"training.engine.checkpoints.{forgotten}", lambda path: None)
    with pytest.raises((AssertionError, ValueError)):
        save_three_steps(tmp_path)


def test_an_older_checkpoint_stays_until_the_newer_one_reads_back(tmp_path, monkeypatch):
    network = model()
    checkpoints = Checkpoints(tmp_path, state_of(network), keep=1)
    checkpoints.save(1)
    write = checkpoints._checkpoint.write

    def write_badly(path, options):
        write(path, options)
        with open(f"{path}.data-00000-of-00001", "r+b") as file:
            file.seek(3000)
            file.write(b"damage")

    monkeypatch.setattr(checkpoints._checkpoint, "write", write_badly)
    with pytest.raises(OSError, match=r"step 2 could not be written.*steps \[1\] are whole"):
        checkpoints.save(2)
    assert restored(tmp_path)[0] == 1


def test_a_power_loss_while_our_files_are_replaced(tmp_path):
    root = tmp_path / "disk"
    path = root / "a" / "b" / "config.json"
    root.mkdir()
    written = [None]

    def check(folder):
        file = folder / "a" / "b" / "config.json"
        found = checked.read_json(file) if file.exists() else None
        assert found in (written[-1], {"number": len(written)})

    disk, seen = checking(root, tmp_path / "scratch", check)
    with disk.watching():
        for number in (1, 2):
            checked.write_json(path, {"number": number})
            written.append({"number": number})
    assert len(seen) >= 6


@pytest.mark.slow
def test_runs_that_lost_power_end_with_the_same_weights(tmp_path):
    code, output = wait(start(tmp_path / "whole"))
    assert code == 0, output
    modes = random.Random(0).choices(MODES, k=len(MOMENTS))
    continued = []
    for moment, mode in zip(MOMENTS, modes, strict=True):
        copy = tmp_path / f"copy{moment}"
        flags = ["--config=training/configs/simclr.py:smoke"]
        command = [sys.executable, "-m", "tests.hostile.power", str(tmp_path / f"{moment}")]
        lost = subprocess.run(
            [*command, str(copy), str(moment), mode, *flags],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert lost.returncode == 9, lost.stderr
        code, output = wait(start(copy / "run"))
        assert code == 0, output
        continued.append("continuing at step" in output)
        assert_same_encoder(copy / "run", tmp_path / "whole")
        runs = copy / "run", tmp_path / "whole"
        losses = [[row["loss"] for row in read_metrics(run)] for run in runs]
        assert losses[0] == losses[1]
    assert any(continued)
