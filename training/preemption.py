"""What a run does when it is told to stop (SIGTERM): it saves first."""

import contextlib
import signal
import threading


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
