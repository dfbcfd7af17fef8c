"""Processes of a study: each command in a process of its own, which ends with the study's."""

import contextlib
import ctypes
import os
import pathlib
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from evaluation.studies.plan import ROOT
from sassl_tf.errors import UserError
from sassl_tf.files import make_folder
from training.engine.preemption import Preempted, StopRequest

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_POLL_SECONDS = 1.0


class Stopped(Preempted):
    """A signal told the study to stop; its process has saved its step and ended."""

    def __init__(self, number: int) -> None:
        Exception.__init__(self, f"Stopped by {signal.Signals(number).name}.")
        self.status = 128 + number


class Failed(UserError):
    """A command of a study that did not end well; the message is its reason."""


def shown(arguments: Sequence[str]) -> str:
    """Returns a command as one types it."""
    return shlex.join(["python", *arguments])


def as_flag(value: Any) -> str:
    """Returns a value of a config as a flag has it."""
    return repr(tuple(value)) if isinstance(value, (list, tuple)) else str(value)


def run_command(arguments: Sequence[str], log: pathlib.Path, stop: StopRequest) -> None:
    """Runs a Python command and waits for it; its output is added to a log.

    Args:
        arguments: those of Python, such as ["-m", "training.pretrain", ...].
        log: the file for its output.
        stop: what remembers the signals to this process.

    Raises:
        Failed: it ended with an error.
        Stopped: a signal asked this process to stop; the command was told so, and has ended.
    """
    make_folder(log.parent)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with open(log, "ab") as output:
        output.write(f"\n$ {shown(arguments)}\n".encode())
        output.flush()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            preexec_fn=_ends_with_parent(),
        )
        status = _wait(process, stop)
    if stop.number is not None:
        raise Stopped(stop.number)
    if status:
        raise Failed(_reason(status, log))


def _wait(process: "subprocess.Popen[bytes]", stop: StopRequest) -> int:
    """Waits for a process, and passes on a signal to stop once."""
    told = False
    try:
        while True:
            if stop.number is not None and not told:
                process.send_signal(signal.SIGTERM)
                told = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(_POLL_SECONDS)
    except BaseException:  # a second Ctrl-C
        process.kill()
        process.wait()
        raise


def _ends_with_parent() -> Callable[[], None] | None:
    """Returns what a new process calls to get SIGTERM when this one dies, also by SIGKILL.

    Only Linux has it. Elsewhere a run that is under way goes on until it is done.
    """
    if platform.system() != "Linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def follow() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before
            os._exit(1)

    return follow


def _reason(status: int, log: pathlib.Path) -> str:
    """Returns why a process failed, from its log."""
    if status < 0:
        name = signal.Signals(-status).name
        hint = " (often for lack of memory)" if -status == signal.SIGKILL else ""
        return f"It was ended by {name}{hint}; see {log}."
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        *_, text = file.read().decode(errors="replace").rpartition("\n$ ")
    text = text.partition("\n")[-1]  # without the command
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    said = errors[-1].removeprefix("Error: ") if errors else (lines or ["no output"])[-1]
    return f"{said} (exit status {status}; see {log})"
