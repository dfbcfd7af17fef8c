"""The first moments of a command: its streams, an answer to Ctrl-C, and a quiet TensorFlow.

The packages `training`, `evaluation` and `benchmarks` call `begin_command` when they are imported,
which does nothing in a program or a notebook of the user's. Importing this module must be fast.
"""

import contextlib
import os
import platform
import signal
import sys
from typing import Any, TextIO

INTERRUPTED = 128 + signal.SIGINT  # the exit status that shells give to Ctrl-C


def begin_command(package: str) -> None:
    """Prepares a process that was started as `python -m PACKAGE.MODULE`; leaves any other alone.

    Args:
        package: name of the package that is being imported.
    """
    # Python sets argv[0] to "-m" while it looks for the module, and to the module's file after.
    named = any(word.startswith(f"{package}.") for word in sys.orig_argv)
    if sys.argv[:1] != ["-m"] or not named:
        return
    open_missing_streams()
    end_at_once_on_ctrl_c()
    use_onednn()
    from training.command import quiet

    quiet.import_tensorflow()


def open_missing_streams() -> None:
    """Opens the null device for standard streams that the process was started without.

    Otherwise a file that it opens later would get the number of one, and with it what libraries
    write there.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def use_onednn() -> None:
    """Makes TensorFlow use oneDNN's kernels on every x86 processor, unless the environment says no.

    By itself it uses them only where the processor has VNNI instructions for AVX-512.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def end_at_once_on_ctrl_c() -> None:
    """Makes Ctrl-C end the process with a line, until `ctrl_c_raises` is called.

    For the time of the imports: an import that is interrupted by an exception would show a
    traceback, or swallow the exception.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    terminal = os.dup(2)  # quiet.py sends number 2 to a process that Ctrl-C may have ended

    def end(*_):
        with contextlib.suppress(OSError):
            os.write(terminal, b"\nInterrupted.\n")
        os._exit(INTERRUPTED)

    end.is_ours = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGINT, end)


def ctrl_c_raises() -> None:
    """Makes Ctrl-C raise a KeyboardInterrupt again."""
    if hasattr(signal.getsignal(signal.SIGINT), "is_ours"):
        signal.signal(signal.SIGINT, signal.default_int_handler)


class LastingStream:
    """Wraps a standard stream so that the process goes on when its terminal or disk is gone.

    Args:
        stream: `sys.stdout` or `sys.stderr`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outlive_the_terminal() -> None:
    """Wraps both output streams in `LastingStream`, for print, tqdm and logging."""
    sys.stdout, sys.stderr = LastingStream(sys.stdout), LastingStream(sys.stderr)
