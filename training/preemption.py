"""What a run does when it is told to stop (SIGTERM, Ctrl-C): it saves first."""

import contextlib
import os
import signal
import threading

from training.strategy import across_workers, worker

AGREE_EVERY = 10  # steps after which several workers ask each other
PATIENCE = b"\nStopping when the step under way is saved; Ctrl-C again stops at once.\n"


class Preempted(Exception):
    """The run was told to stop, and has saved where it is; `status` is to be the exit status."""

    def __init__(self, step, total, number):
        name = {signal.SIGINT: "Ctrl-C"}.get(number, signal.Signals(number).name)
        super().__init__(f"Stopped by {name}; step {step} of {total} is saved.")
        self.status = 128 + number  # what a shell makes of a signal


class StopRequest(threading.Event):
    """Set by a signal; `number` is which."""

    number = signal.SIGTERM  # for a worker that is told by the others

    def handle(self, number, _):
        self.number = number
        self.set()
        if number == signal.SIGINT:
            os.write(2, PATIENCE)  # a handler may come in the middle of a print
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def stop_requests():
    """Yields a `StopRequest` that SIGTERM sets, as schedulers and clouds send it, or Ctrl-C.

    Outside of the main thread, where Python allows no handler, it is never set.
    """
    requested = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    # A shell has its background jobs ignore Ctrl-C, and so do we.
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, requested.handle)
        yield requested
    finally:
        for number, old in before.items():
            signal.signal(number, old)


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
