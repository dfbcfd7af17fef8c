"""What a run does when it is told to stop (SIGTERM, SIGHUP, Ctrl-C): it saves first."""

import contextlib
import os
import signal
import threading

from training.engine.strategy import across_workers, worker

AGREE_EVERY = 10  # steps after which several workers ask each other
# Windows has no SIGHUP.
SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)
]
PATIENCE = b"\nStopping when the step under way is saved; Ctrl-C again stops at once.\n"


class Preempted(Exception):
    """The run was told to stop, and has saved where it is; `status` is to be the exit status."""

    def __init__(self, step, total, number):
        name = {signal.SIGINT: "Ctrl-C"}.get(number, signal.Signals(number).name)
        super().__init__(f"Stopped by {name}; step {step} of {total} is saved.")
        self.status = 128 + number  # what a shell makes of a signal


class StopRequest:
    """`number` is the signal that came, or None.

    A plain attribute: the lock within a `threading.Event` would catch a handler in another's.
    """

    number = None

    def handle(self, number, _):
        self.number = number
        if number == signal.SIGINT:
            with contextlib.suppress(OSError):  # of a terminal that is gone
                os.write(2, PATIENCE)  # a handler may come in the middle of a print
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def stop_requests():
    """Yields a `StopRequest` that hears of SIGTERM, as schedulers and clouds send it, and others.

    Outside of the main thread, where Python allows no handler, it never hears of any.
    """
    requested = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    # A shell has its background jobs ignore Ctrl-C, and nohup SIGHUP; so do we.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, requested.handle)
        yield requested
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def stop_wanted(strategy, requested, step):
    """The signal after which a run stops at this step, or None.

    Several workers stop after the same step, all of them.

    Args:
        strategy: of the run.
        requested: what `stop_requests` yielded, in this process.
        step: the number of the step.
    """
    _, count = worker(strategy)
    if count == 1:
        return requested.number
    if step % AGREE_EVERY:
        return None
    return int(across_workers(strategy, requested.number or 0).max()) or None
