"""Runs that are killed at random moments, and several workers that are told to stop."""

import random
import signal
import time

import numpy as np
import pytest
from PIL import Image

from tests.training.test_pretrain import assert_same_encoder, start, wait
from tests.training.test_strategy import two_workers
from training.report.metrics import read_metrics

KILLS = 20


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_with_the_same_weights(tmp_path):
    """At random moments of start, training, measuring and saving."""
    more = ["--config.epochs=3", "--config.checkpoint_every=2", "--config.knn_every=50"]
    code, output = wait(start(tmp_path / "whole", *more))
    assert code == 0, output
    moments = random.Random(0)
    steps = []
    for kill in range(KILLS):
        process = start(tmp_path / "killed", *more)
        if kill % 4 == 0:
            time.sleep(moments.uniform(1, 8))  # in its start
        else:
            assert any("step" in line and "images/s" in line for line in process.stdout)
            time.sleep(moments.uniform(0, 3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        steps.append(max([row["step"] for row in read_metrics(tmp_path / "killed")], default=0))
    assert len(set(steps)) > KILLS / 2, steps  # it got on between the kills
    code, output = wait(start(tmp_path / "killed", *more))
    assert code == 0, output
    assert_same_encoder(tmp_path / "killed", tmp_path / "whole")
    losses = [[row["loss"] for row in read_metrics(tmp_path / run)] for run in ("killed", "whole")]
    assert losses[0] == losses[1]


def two_pretrainings(workdir, *flags):
    config = "--config=training/configs/simclr.py:smoke"
    arguments = [config, f"--workdir={workdir}", "--strategy=multi_worker", *flags]
    return two_workers("training.pretrain", *arguments)


@pytest.mark.slow
def test_two_workers_stop_together_and_continue(tmp_path):
    def train(workdir):
        processes = two_pretrainings(workdir, "--config.epochs=0.25")
        outputs = [process.communicate(timeout=300)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], outputs
        return outputs

    train(tmp_path / "whole")
    processes = two_pretrainings(tmp_path / "stopped", "--config.epochs=0.25")
    deadline = time.monotonic() + 200
    while len(read_metrics(tmp_path / "stopped")) < 2:
        assert time.monotonic() < deadline and all(p.poll() is None for p in processes)
        time.sleep(0.05)
    processes[1].terminate()  # the one that does not write
    stopped = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], stopped
    steps = {output.partition("SIGTERM; step ")[2].split()[0] for output in stopped}
    assert len(steps) == 1 and int(*steps) % 10 == 0, stopped
    outputs = train(tmp_path / "stopped")
    assert all(f"continuing at step {int(*steps)}" in output for output in outputs)
    assert_same_encoder(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.slow
def test_a_worker_that_was_killed_ends_the_other_with_a_line(tmp_path):
    processes = two_pretrainings(tmp_path, "--config.epochs=100")
    deadline = time.monotonic() + 200
    while len(read_metrics(tmp_path)) < 2:
        assert time.monotonic() < deadline and all(p.poll() is None for p in processes)
        time.sleep(0.05)
    processes[1].kill()
    output, _ = processes[0].communicate(timeout=200)
    assert processes[0].returncode == 1, output
    assert "Error: Worker 0 of 2 has lost another one." in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_workers_that_have_different_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    for host in range(2):
        (tmp_path / str(host)).mkdir()
        for number in range(40 - host):
            Image.fromarray(pixels[number]).save(tmp_path / str(host) / f"{number}.png")
    config = "--config=training/configs/simclr.py:smoke"
    processes = two_workers(
        "training.pretrain",
        *(config, "--strategy=multi_worker", f"--workdir={tmp_path / 'run'}"),
        each=lambda index: [f"--config.dataset=folder:{tmp_path / str(index)}"],
    )
    for process in processes:
        output, _ = process.communicate(timeout=200)
        assert process.returncode != 0
        assert "The workers have different images" in output and "[40, 39]" in output


@pytest.mark.slow
def test_workers_that_do_not_share_their_workdir(tmp_path):
    """One of them has a checkpoint and the other has none."""
    code, output = wait(start(tmp_path / "0"))
    assert code == 0, output
    config = "--config=training/configs/simclr.py:smoke"
    processes = two_workers(
        "training.pretrain",
        *(config, "--strategy=multi_worker"),
        each=lambda index: [f"--workdir={tmp_path / str(index)}"],
    )
    for process in processes:
        output, _ = process.communicate(timeout=200)
        assert process.returncode != 0
        assert "would continue at the steps [12, 0]" in output
