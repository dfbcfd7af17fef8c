"""Terminals that go away, Ctrl-C before anything is imported, and disks that are full."""

import contextlib
import errno
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sassl_tf import files
from tests import commands
from tests.conftest import SMOKE
from tests.training.test_pretrain import ROOT, assert_same_encoder
from training.command import startup
from training.report import logs, metrics


def without_streams():
    for number in (0, 1, 2):
        os.close(number)


def test_files_get_no_number_of_a_stream_that_was_closed(tmp_path):
    """What libraries write to standard error would land in them."""
    program = (
        "import os, sys\nfrom training.command import startup\nstartup.open_missing_streams()\n"
    )
    program += "with open(sys.argv[1], 'w') as file:\n    os.write(2, b'noise')\n"
    program += "    print('to nobody', flush=True)\n    file.write(str(file.fileno() > 2))\n"
    command = [sys.executable, "-c", program, str(tmp_path / "file")]
    assert subprocess.run(command, cwd=ROOT, preexec_fn=without_streams).returncode == 0
    assert (tmp_path / "file").read_text() == "True"


@pytest.mark.parametrize("how", ["reader_gone", pytest.param("closed", marks=pytest.mark.slow)])
def test_a_run_goes_on_without_its_terminal(small_run, tmp_path, how):
    whole, flags = small_run
    flags_of_this = [SMOKE, f"--workdir={tmp_path}", *flags]
    if how == "closed":
        command = [sys.executable, "-m", "training.pretrain", *flags_of_this]
        run = subprocess.Popen(command, cwd=ROOT, preexec_fn=without_streams)
    else:
        run = commands.start("training.pretrain", *flags_of_this)
        run.stdout.readline()
        run.stdout.close()
    assert run.wait(timeout=300) == 0
    assert_same_encoder(tmp_path, whole)
    assert [row["loss"] for row in metrics.read_metrics(tmp_path)] == [
        row["loss"] for row in metrics.read_metrics(whole)
    ]


def test_what_is_said_to_nobody(monkeypatch):
    """print, as print does; and what reads the stream's attributes."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = startup.LastingStream(open(writer, "w", buffering=1))  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", stream)
    logs.say("to nobody")
    assert stream.write("abc\n") == 4 and stream.fileno() == writer
    stream.flush()
    with pytest.raises(BrokenPipeError):
        stream.close()


@pytest.mark.parametrize("module", ["training.pretrain", "evaluation.knn"])
def test_ctrl_c_in_the_first_second(tmp_path, module):
    for seconds in (0.05, 0.15):  # later, a fast machine may be done with its imports
        run = subprocess.Popen(
            [sys.executable, "-m", module, SMOKE, f"--workdir={tmp_path}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        deadline = time.monotonic() + 60
        while not _answers(run.pid):
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(seconds)
        os.killpg(run.pid, signal.SIGINT)
        out, told = run.communicate(timeout=60)
        assert run.returncode == 130, (out, told)
        assert told.strip() == "Interrupted." and out == ""


def _answers(process):
    """Returns whether a process has come to `training.command.startup`, which copies stderr."""
    with contextlib.suppress(OSError):  # Python itself may open and close files meanwhile
        links = [os.readlink(link) for link in pathlib.Path(f"/proc/{process}/fd").iterdir()]
        return links.count(os.readlink(f"/proc/{process}/fd/2")) > 1
    return False


# Files may not grow over so many bytes, so that a write fails half way as on a full disk.
ON_A_FULL_DISK = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
runpy.run_module("training.pretrain", run_name="__main__", alter_sys=True)
"""


# `views.png` is written first.
@pytest.mark.parametrize(
    ("lost", "size"),
    [
        (["views.png", "encoder.keras"], 25_000),
        pytest.param(["encoder.keras"], 30_000, marks=pytest.mark.slow),
    ],
)
def test_a_full_disk(small_run, tmp_path, lost, size):
    """The message, the run's checkpoints, and the same command again."""
    finished, flags = small_run
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    for name in lost:
        (workdir / name).unlink()
    command = [SMOKE, *flags, f"--workdir={workdir}"]
    done = commands.run_program(ON_A_FULL_DISK, size, *command)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert f"{workdir / lost[0]} cannot be written: File too large. Make room" in done.stderr
    assert not (workdir / lost[0]).exists() and not [*workdir.glob(".*")]
    done = commands.run("training.pretrain", *command)
    assert done.returncode == 0 and "continuing at step 60" in done.stderr, done.stderr
    assert all((workdir / name).exists() for name in lost)
    assert_same_encoder(workdir, finished)


def test_the_reason_is_never_cut_off():
    error = OSError(f"{{{{function_node x}}}} /{'long/' * 200}a; No space left on device [Op:Save]")
    reason = files.short_reason(error)
    assert reason.startswith("/long/") and reason.endswith("No space left on device")
    assert len(reason) < 310 and files.short_reason(OSError("a\nb")) == "a"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("Can't write data (file write failed: errno = 28, error message = '...')"),
        RuntimeError("/a; No space left on device"),
    ],
)
def test_errors_of_a_full_disk(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    told = pytest.raises(OSError, match=r"a\.txt cannot be written: .*Make room")
    with told, files.replacing(path) as beside:
        beside.write_text("half")
        raise error
    assert path.read_text() == "old" and [*tmp_path.iterdir()] == [path]
    with pytest.raises(OSError, match=r"^other$"), files.writing(path):
        raise OSError("other")


def test_features_larger_than_the_disk(tmp_path):
    """An error before the first of them, and not a killed process."""
    program = "import resource, sys\nfrom sassl_tf.checked import new_array\n"
    program += "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))\n"
    program += "with new_array(sys.argv[1], (1000, 1000)) as array:\n    array[:] = 1\n"
    run = commands.run_program(program, tmp_path / "a.npy")
    assert run.returncode == 1 and "a.npy cannot be written: File too large" in run.stderr
    assert not [*tmp_path.iterdir()]


def test_a_folder_of_many_files(tmp_path, monkeypatch):
    """They are flushed at once."""
    flushed = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    monkeypatch.setattr(os, "sync", lambda: flushed.append("all"))
    monkeypatch.setattr(files, "MANY_FILES", 3)
    for count, expected in ((3, 4), (4, 1)):
        with files.replacing(tmp_path / str(count)) as beside:
            beside.mkdir()
            for number in range(count):
                np.save(beside / f"{number}.npy", number)
        assert len(flushed) == expected + 1, flushed  # and the name of the folder
        flushed.clear()
