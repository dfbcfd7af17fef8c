"""A trace of a few steps, for TensorBoard's profiler."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from sassl_tf.typing import PathLike
from training.report.logs import say

STEPS_BEFORE = 10  # in which functions are traced and buffers filled


class Profiler:
    """Traces `count` steps into the workdir, from the eleventh step of this process on.

    Args:
        workdir: the run's folder; its TensorBoard shows the trace.
        start: number of steps that are done.
        count: number of steps to trace; 0 for none.
    """

    def __init__(self, workdir: PathLike, start: int, count: int) -> None:
        self._folder = str(workdir)
        self._first = start + STEPS_BEFORE + 1
        self._last = self._first + count - 1
        self._running = self._written = False

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Encloses a step."""
        if not self._first <= number <= self._last:
            yield
            return
        if number == self._first:
            tf.profiler.experimental.start(self._folder)
            self._running = True
        with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
            yield
        if number == self._last:
            self._stop()

    def close(self) -> None:
        """Writes a trace that the end of the run has cut short; prints a line if there is none."""
        if self._running:
            self._stop()
        elif self._first <= self._last and not self._written:
            say(f"Nothing was traced: the run ended before step {self._first}.")

    def _stop(self):
        tf.profiler.experimental.stop()
        self._running, self._written = False, True
