"""What a process of ours has before anything is imported: its streams, and an answer to Ctrl-C.

It is imported first of all, and must not be slow.
"""

import contextlib
import os
import signal
import sys

INTERRUPTED = 128 + signal.SIGINT  # the exit status that shells give to Ctrl-C


def open_missing_streams():
    """Opens the null device in place of standard streams that the process was started without.

    Else a file that it opens later would get their number, and the lines of a library with it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def end_at_once_on_ctrl_c():
    """Has Ctrl-C end a binary with a line while it is still importing; `ctrl_c_raises` ends that.

    An import that is broken off by an exception would show a traceback, or swallow it. Only for
    `python -m`: a program of the user's, which imports this, has its own ways.
    """
    handler = signal.getsignal(signal.SIGINT)
    if sys.argv[:1] != ["-m"] or handler is not signal.default_int_handler:
        return
    terminal = os.dup(2)  # where quiet.py sends the number 2 meanwhile, nobody may be left

    def end(*_):
        with contextlib.suppress(OSError):
            os.write(terminal, b"\nInterrupted.\n")
        os._exit(INTERRUPTED)

    end.is_ours = True
    signal.signal(signal.SIGINT, end)


def ctrl_c_raises():
    """Has Ctrl-C raise a KeyboardInterrupt again."""
    if hasattr(signal.getsignal(signal.SIGINT), "is_ours"):
        signal.signal(signal.SIGINT, signal.default_int_handler)


class LastingStream:
    """A standard stream that may lose its terminal, or its file's room: a run goes on without.

    Args:
        stream: `sys.stdout` or `sys.stderr`.
    """

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self):
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name):
        return getattr(self._stream, name)


def outlive_the_terminal():
    """Makes both output streams lasting, for print, tqdm and logging."""
    sys.stdout, sys.stderr = LastingStream(sys.stdout), LastingStream(sys.stderr)


open_missing_streams()
end_at_once_on_ctrl_c()
