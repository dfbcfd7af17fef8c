"""The speed of the input by itself, beside that of the train step, and which of the two limits."""

import contextlib
import dataclasses
import math
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from ml_collections import ConfigDict

TIMED_STEPS = 5
FIRST_TIMED = 3  # the steps before it are traced, or empty the buffers
BUSY = 0.7  # the share of the cores in use, from which on they are what limits the input
CGROUPS = pathlib.Path("/sys/fs/cgroup")
MARGIN = 1.05  # speeds that are nearer than this count as equal


@dataclasses.dataclass(frozen=True)
class InputSpeed:
    """The speed of an input pipeline without a train step.

    Attributes:
        images_per_second: of this host.
        busy: the share of this host's cores that this process kept busy.
    """

    images_per_second: float
    busy: float


def input_speed(next_batch: Callable[[], Any], images: int, seconds: float) -> InputSpeed:
    """Measures how fast batches come when nobody uses them.

    The first batch and what lies ready behind it do not count: the measurement begins when half of
    the time has passed, after at least one batch.

    Args:
        next_batch: returns the next batch.
        images: number of images in a batch.
        seconds: how long it takes, or longer for slow batches: at least three are waited for.
    """
    next_batch()
    begin = time.monotonic()
    _batches_until(next_batch, begin + seconds / 2)
    start, used = time.monotonic(), time.process_time()
    count = _batches_until(next_batch, start + seconds / 2)
    elapsed = max(time.monotonic() - start, 1e-9)
    busy = (time.process_time() - used) / elapsed / available_cores()
    return InputSpeed(count * images / elapsed, min(busy, 1.0))


def _batches_until(next_batch: Callable[[], Any], end: float) -> int:
    """Takes batches, at least one, until the time has come; returns their number."""
    count = 0
    while not count or time.monotonic() < end:
        next_batch()
        count += 1
    return count


def steps_needed(parts: int) -> int:
    """Returns how many steps, each of some parts, a `StepTimer` takes."""
    return FIRST_TIMED - 1 + math.ceil(TIMED_STEPS / parts)


class StepTimer:
    """Times some of a run's steps by themselves, each with its batch at hand.

    A device works on after a step is handed to it, so these steps are waited for.

    Args:
        start: number of the step that the run continues after.
    """

    def __init__(self, start: int) -> None:
        self._first = start + FIRST_TIMED
        self._seconds: list[float] = []

    def __call__(self, step: int, train_step: Callable[..., Any], *arguments: Any) -> Any:
        """Returns the result of a step, or of a part of one, which is then timed by itself."""
        if not self._first <= step < self._first + TIMED_STEPS:
            return train_step(*arguments)
        start = time.monotonic()
        scalars = train_step(*arguments)
        float(scalars["loss"])
        self._seconds.append(time.monotonic() - start)
        return scalars

    @property
    def is_done(self) -> bool:
        """True when all steps are timed."""
        return len(self._seconds) == TIMED_STEPS

    @property
    def seconds(self) -> float:
        """The median of the timed steps, or of those so far."""
        return sorted(self._seconds)[len(self._seconds) // 2]


def verdict(
    speed: InputSpeed,
    step_images_per_second: float,
    hosts: int,
    config: ConfigDict,
    data_service: str,
    accelerated: bool,
) -> str:
    """Returns which of input and step limits a run, and what to change.

    Args:
        speed: of the input of one host.
        step_images_per_second: of the train step, over all hosts.
        hosts: how many hosts make the input.
        config: a pretraining config.
        data_service: as in `training.engine.loop.pretrain`.
        accelerated: whether the step runs on a GPU or a TPU.
    """
    made = speed.images_per_second * hosts
    both = f"{made:,.0f} images/s by itself; the step takes {step_images_per_second:,.0f} images/s"
    ratio = step_images_per_second / max(made, 1e-9)
    if ratio <= 1 / MARGIN:
        return f"{both}. The step limits, and the input could feed {1 / ratio:.1f} times as much."
    if ratio < MARGIN:
        return f"{both}. They are about equal."
    advice = "; or ".join(_advice(speed, ratio, config, data_service, accelerated))
    return f"{both}. The input limits: it has to be {ratio:.1f} times as fast. {advice}."


def _advice(speed, ratio, config, data_service, accelerated):
    if data_service:
        yield f"Start {math.ceil(ratio)} times as many helpers"
    elif speed.busy < BUSY:
        yield (
            f"Its cores are {speed.busy:.0%} busy, so that it waits for the images: read more at a "
            "time (--reads_in_flight), neighbours together (--config.shuffle_window), or from a "
            "faster disk"
        )
    else:
        cores = available_cores()
        yield f"Give each host {math.ceil(cores * ratio)} cores like its {cores}"
        yield f"let {math.ceil(ratio) - 1} such hosts help (--data_service)"
    if accelerated and config.augment_on == "host":
        yield "finish the views on the device (--config.augment_on=device)"


def available_cores() -> int:
    """Returns the number of cores that this process may use; a cluster may give it some of all.

    A container may have a share of their time instead of some of them (`docker run --cpus`).
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        cores = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min(cores, _cpu_quota(CGROUPS))))


def _cpu_quota(cgroups: pathlib.Path) -> float:
    """Returns the number of cores whose time a container has, infinity if it has no limit."""
    with contextlib.suppress(OSError, ValueError):
        most, period = (cgroups / "cpu.max").read_text().split()  # version 2
        return math.inf if most == "max" else int(most) / int(period)
    with contextlib.suppress(OSError, ValueError):
        cpu = cgroups / "cpu"  # version 1
        quota = int((cpu / "cpu.cfs_quota_us").read_text())
        return quota / int((cpu / "cpu.cfs_period_us").read_text()) if quota > 0 else math.inf
    return math.inf


def is_accelerated() -> bool:
    """Returns whether this process computes on a GPU or a TPU."""
    devices = tf.config.list_logical_devices()
    return any(device.device_type in ("GPU", "TPU") for device in devices)
