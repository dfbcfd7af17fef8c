"""The processes of a study: why one failed, and that none outlives the study."""

import contextlib
import os
import pathlib
import signal
import sys
import time

import pytest

from evaluation.studies.processes import Failed, Stopped, run_command
from training.engine.preemption import StopRequest


def test_a_command_that_fails_says_why(tmp_path):
    log = tmp_path / "log"
    code = "import sys; print('a line'); print('Error: The disk is full.'); sys.exit(1)"
    with pytest.raises(Failed, match=r"^The disk is full. \(exit status 1; see"):
        run_command(["-c", code], log, StopRequest())
    with pytest.raises(Failed, match=r"ended by SIGKILL \(often for lack of memory\)"):
        run_command(["-c", "import os; os.kill(os.getpid(), 9)"], log, StopRequest())
    with pytest.raises(Failed, match="no output"):
        run_command(["-c", "raise SystemExit(2)"], log, StopRequest())
    run_command(["-c", "print('well')"], log, StopRequest())
    assert log.read_text().endswith("well\n")
    stop = StopRequest()
    stop.number = signal.SIGTERM
    with pytest.raises(Stopped) as stopped:
        run_command(["-c", "import time; time.sleep(60)"], log, stop)
    assert stopped.value.status == 143


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of this")
def test_a_command_ends_when_the_study_is_killed(tmp_path):
    log = tmp_path / "log"
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    study = os.fork()
    if study == 0:
        try:
            run_command(["-c", code], log, StopRequest())
        finally:  # never back into pytest
            os._exit(0)
    deadline = time.monotonic() + 60
    while not log.exists() or not log.read_text()[-2:-1].isdigit():
        assert time.monotonic() < deadline, "the command does not start"
        time.sleep(0.1)
    child = int(log.read_text().split()[-1])
    os.kill(study, signal.SIGKILL)
    os.waitpid(study, 0)
    deadline = time.monotonic() + 20
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        while time.monotonic() < deadline:
            os.kill(child, 0)
            if not pathlib.Path(f"/proc/{child}/cmdline").read_bytes():
                break  # a zombie, whose new parent has not looked yet
            time.sleep(0.2)
        else:
            pytest.fail("it goes on")
