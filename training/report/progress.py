"""The progress of a run: a line for people, and the speeds for the metrics."""

import contextlib
import time
from collections.abc import Iterator, Mapping

from training.report.logs import say

SHOWN = ("loss", "probe_accuracy", "knn_accuracy")


def clock(seconds: float) -> str:
    """Formats a duration in seconds: 0:07, 12:34 or 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Progress:
    """Measures the speed of training and the time spent waiting for input.

    Args:
        start: number of steps that are done.
        total: number of the last step.
        batch_size: number of images in a step.
        steps_per_epoch: number of batches in an epoch.
    """

    def __init__(self, start: int, total: int, batch_size: int, steps_per_epoch: int) -> None:
        self._start, self._total, self._batch_size = start, total, batch_size
        self._steps_per_epoch = steps_per_epoch
        self.restart(start)

    def restart(self, step: int) -> None:
        """Begins a new measurement after a step."""
        self._step, self._time, self._waited = step, time.monotonic(), 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Encloses the wait for the next batch."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def measure(self, step: int) -> dict[str, float]:
        """Returns the speeds since the last restart.

        Args:
            step: the number of the step that is done.

        Returns:
            {"epoch", "images_per_second", "step_seconds", "input_wait_seconds",
            "compute_seconds"}; the seconds are those of a step, and the last two add up to
            "step_seconds".
        """
        seconds, steps = max(time.monotonic() - self._time, 1e-9), max(step - self._step, 1)
        return {
            "epoch": round(step / self._steps_per_epoch, 3),
            "images_per_second": steps * self._batch_size / seconds,
            "step_seconds": seconds / steps,
            "input_wait_seconds": self._waited / steps,
            "compute_seconds": (seconds - self._waited) / steps,
        }

    def estimate(self, step: int) -> None:
        """Prints how long the run will take at the speed since the last restart."""
        speed = self.measure(step)["images_per_second"]
        seconds = (self._total - self._start) * self._batch_size / speed
        say(f"  time     {clock(seconds)} at {speed:.3g} images/s")

    def show(self, step: int, scalars: Mapping[str, float]) -> None:
        """Prints the step, the main scalars, the speed, and the time left at that speed."""
        shown = "".join(f"{name} {scalars[name]:.3g}  " for name in SHOWN if name in scalars)
        speed = scalars["images_per_second"]
        seconds = (self._total - step) * self._batch_size / max(speed, 1e-9)
        left = f"  {clock(seconds)} left" if step < self._total else ""
        epoch = scalars["epoch"]
        say(f"step {step}/{self._total} (epoch {epoch:.1f})  {shown}{speed:.0f} images/s{left}")
