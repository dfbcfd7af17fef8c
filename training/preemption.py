"""What a run does when it is told to stop (SIGTERM): it saves first."""

import contextlib
import signal
import threading

from training.strategy import across_workers, worker

AGREE_EVERY = 10  # steps after which several workers ask each other


class Preempted(Exception):
    """The run was told to stop, and has saved where it is."""


@contextlib.contextmanager
def stop_requests():
    """Yields a `threading.Event` that SIGTERM sets, as schedulers and cloud machines send it.

    Outside of the main thread, where Python allows no handler, it is never set.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    before = signal.signal(signal.SIGTERM, lambda *_: requested.set())
    try:
        yield requested
    finally:
        signal.signal(signal.SIGTERM, before)


def stop_wanted(strategy, requested, step):
    """Whether the run stops after a step; several workers stop after the same one, all of them.

    Args:
        strategy: of the run.
        requested: what `stop_requests` yielded, in this process.
        step: the number of the step.
    """
    _, count = worker(strategy)
    if count == 1:
        return requested.is_set()
    return step % AGREE_EVERY == 0 and bool(across_workers(strategy, requested.is_set()).any())
