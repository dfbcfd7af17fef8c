"""How far a run is: a line for people, and the speed figures that go with the metrics."""

import contextlib
import time

from training.logs import say


class Progress:
    """Counts images and the time spent waiting for input.

    Args:
        start: step that the run begins at.
        total: the last step.
        batch_size: images a step.
        steps_per_epoch: a number, not necessarily whole.
    """

    def __init__(self, start, total, batch_size, steps_per_epoch):
        self._start, self._total = start, total
        self._batch_size, self._steps_per_epoch = batch_size, steps_per_epoch
        self._first_report = None
        self._last_step, self._last_time, self._waited = start, time.monotonic(), 0.0

    @contextlib.contextmanager
    def waiting(self):
        """Around the wait for the next batch."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def report(self, step, scalars):
        """Logs a line; returns the scalars with the speed since the last report added."""
        now = time.monotonic()
        seconds = max(now - self._last_time, 1e-9)
        images = (step - self._last_step) * self._batch_size
        scalars = {
            "epoch": round(step / self._steps_per_epoch, 3),
            **scalars,
            "images_per_second": images / seconds,
            "input_wait_share": self._waited / seconds,
        }
        shown = {
            name: f"{scalars[name]:.3g}" for name in ("loss", "knn_accuracy") if name in scalars
        }
        say(
            f"step {step}/{self._total} (epoch {scalars['epoch']:.1f})  "
            + "".join(f"{name} {value}  " for name, value in shown.items())
            + f"{scalars['images_per_second']:.0f} images/s{self._time_left(step, now)}"
        )
        # The evaluation and the first step's tracing do not count as training time.
        self._last_step, self._last_time, self._waited = step, time.monotonic(), 0.0
        return scalars

    def _time_left(self, step, now):
        if self._first_report is None:
            self._first_report = step, now
            return ""
        first_step, first_time = self._first_report
        seconds = (now - first_time) / (step - first_step) * (self._total - step)
        minutes, seconds = divmod(round(seconds), 60)
        return f"  {minutes}:{seconds:02d} left" if step < self._total else ""
