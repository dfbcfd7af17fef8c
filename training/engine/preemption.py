"""The end of a run by a signal (SIGTERM, SIGHUP, Ctrl-C): it saves its step first."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import tensorflow as tf

from training.engine.strategy import across_workers, worker

AGREE_EVERY = 10  # steps, after which several workers tell each other of signals
# Windows has no SIGHUP.
SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)
]
PATIENCE = b"\nStopping when the step under way is saved; Ctrl-C again stops at once.\n"


class Preempted(Exception):
    """A signal told the run to stop, and the step under way is saved.

    Attributes:
        status: the exit status for the process.
    """

    def __init__(self, step: int, total: int, number: int) -> None:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(f"Stopped by {name}; step {step} of {total} is saved.")
        self.status = 128 + number  # as shells have it


class StopRequest:
    """Remembers the signal that told this process to stop.

    It is a plain attribute, because a signal handler that sets a `threading.Event` can deadlock.

    Attributes:
        number: the signal, or None.
    """

    number: int | None = None

    def handle(self, number: int, _: FrameType | None) -> None:
        """Handles a signal; a second Ctrl-C will then stop at once."""
        self.number = number
        if number == signal.SIGINT:
            with contextlib.suppress(OSError):  # the terminal may be gone
                os.write(2, PATIENCE)  # not print, which the signal may have interrupted
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Yields a `StopRequest` that remembers SIGTERM (which schedulers and clouds send) and others.

    Outside the main thread Python allows no signal handler, and it remembers none.
    """
    requested = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    # Background jobs ignore Ctrl-C, and jobs under nohup SIGHUP; that is kept.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, requested.handle)
        yield requested
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def stop_wanted(strategy: tf.distribute.Strategy, requested: StopRequest, step: int) -> int | None:
    """Returns the signal for which a run stops after this step, or None.

    All workers stop after the same step.

    Args:
        strategy: the strategy of the run.
        requested: the `StopRequest` of this process.
        step: the number of the step.
    """
    _, count = worker(strategy)
    if count == 1:
        return requested.number
    if step % AGREE_EVERY:
        return None
    return int(across_workers(strategy, requested.number or 0).max()) or None
