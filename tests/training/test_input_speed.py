"""Which of the input and the train step limits a run, and the advice that follows."""

import os
import types

import pytest
from ml_collections import ConfigDict

from training.configs.simclr import get_config
from training.input import speed as module
from training.input.options import InputOptions
from training.input.speed import InputSpeed, StepTimer, input_speed, verdict
from training.report.input_check import InputCheck


class Clock:
    """A clock that moves when it is told to, with so many processors at work."""

    def __init__(self, busy):
        self.now, self.busy = 100.0, busy

    def monotonic(self):
        return self.now

    def process_time(self):
        return self.now * self.busy


@pytest.fixture
def clock(monkeypatch):
    made = Clock(busy=3.0)
    monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(module, "available_cores", lambda: 4)
    return made


def test_the_speed_of_batches_without_those_that_lay_ready(clock):
    waits = iter([50.0] + [0.0] * 5 + [0.5] * 100)  # the first is traced, and five were prefetched

    def next_batch():
        clock.now += next(waits)

    speed = input_speed(next_batch, images=16, seconds=8.0)
    assert speed.images_per_second == pytest.approx(32) and speed.busy == pytest.approx(0.75)
    slow = input_speed(lambda: setattr(clock, "now", clock.now + 60), images=16, seconds=1.0)
    assert slow.images_per_second == pytest.approx(16 / 60)  # at least one batch counts


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds to cores")
def test_cores_are_those_that_the_process_may_use():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert module.available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16),
        ({"cpu.max": "max 100000\n"}, 16),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_a_container_has_the_cores_of_its_quota(tmp_path, monkeypatch, files, expected):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(module, "CGROUPS", tmp_path)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: range(16), raising=False)
    assert module.available_cores() == expected


def test_steps_are_timed_after_the_first_ones(clock):
    timer, durations = StepTimer(start=10), iter([90.0, 7.0, 1.0, 3.0, 2.0, 9.0, 4.0, 100.0])
    done = []

    def train_step(batch):
        clock.now += next(durations)
        return {"loss": batch}

    for step in range(11, 19):
        assert timer(step, train_step, 0.5) == {"loss": 0.5}
        done.append(timer.is_done)
    assert done.index(True) == 6 and timer.seconds == 3.0


def test_a_run_with_few_steps_left_is_not_measured(capsys):
    """As many steps as the timer takes, whole or in parts."""
    for parts, needed in ((1, 7), (2, 5), (8, 3)):
        timer = StepTimer(start=0)
        for step in range(1, needed + 1):
            assert not timer.is_done
            for _ in range(parts):
                if not timer.is_done:
                    timer(step, lambda: {"loss": 1.0})
        assert timer.is_done
        plan = types.SimpleNamespace(total_steps=100, config=ConfigDict({"accumulate": parts}))
        run = types.SimpleNamespace(plan=plan, start=101 - needed)
        check = InputCheck(run, InputOptions(measure_seconds=1.0))
        assert check.step(101 - needed, lambda x: x, 3) == 3
        told = f"is not measured: that takes {needed} steps, and {needed - 1} are left"
        assert told in capsys.readouterr().err


def test_the_verdict(monkeypatch):
    monkeypatch.setattr(module, "available_cores", lambda: 8)
    config = get_config("imagenet")

    def said(made, step, busy=1.0, hosts=1, service="", gpu=True):
        return verdict(InputSpeed(made, busy), step, hosts, config, service, gpu)

    line = said(1000.0, 2500.0)
    assert line.startswith("1,000 images/s by itself; the step takes 2,500 images/s. The input")
    for part in ("2.5 times as fast", "20 cores like its 8", "2 such hosts"):
        assert part in line
    assert "--config.augment_on=device" in line and "reads_in_flight" not in line
    assert "augment_on" not in said(1000.0, 2500.0, gpu=False)
    waiting = said(1000.0, 2500.0, busy=0.3)
    assert "30% busy" in waiting and "--reads_in_flight" in waiting and "cores like" not in waiting
    assert "3 times as many helpers" in said(1000.0, 2500.0, service="host:1")
    assert "The step limits" in said(1000.0, 2500.0, hosts=4) and "1.6 times" in said(
        1000.0, 2500.0, hosts=4
    )
    assert "about equal" in said(1000.0, 1020.0)
