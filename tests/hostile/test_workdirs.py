"""Workdirs that two processes want, that have lost files, or have ones that are not a run's."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from tests import commands
from tests.training.test_checkpoints import restored, save
from tests.training.test_pretrain import start, wait
from training.configs import simclr
from training.engine.lock import LOCK_FILE, InUse, locked
from training.engine.workdir import checkpoint_steps, open_workdir
from training.report.metrics import MetricsWriter, read_metrics

FORKS = multiprocessing.get_context("fork")


def hold(folder, pipe):
    with locked(folder):
        pipe.send("held")
        pipe.recv()


@pytest.fixture
def holder(tmp_path):
    """A process that holds tmp_path / "run" until `release` is called."""
    ours, theirs = FORKS.Pipe()
    process = FORKS.Process(target=hold, args=(tmp_path / "run", theirs))
    process.start()
    assert ours.recv() == "held"
    process.release = lambda: ours.send("end")
    yield process
    process.kill()
    process.join()


def test_a_second_process_is_told_who_holds_the_workdir(tmp_path, holder):
    told = rf"run is in use by process {holder.pid} on .*choose another"
    with pytest.raises(InUse, match=told), locked(tmp_path / "run"):
        pass
    with locked(tmp_path / "run", wanted=False):  # a worker that is not the chief
        pass
    config = "--config=training/configs/simclr.py:smoke"
    done = commands.run("training.pretrain", config, f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 1 and f"in use by process {holder.pid}" in done.stderr
    assert "Traceback" not in done.stderr
    assert [file.name for file in (tmp_path / "run").iterdir()] == [LOCK_FILE]
    holder.release()
    holder.join(60)
    with locked(tmp_path / "run"):
        assert str(os.getpid()) in (tmp_path / "run" / LOCK_FILE).read_text()


def test_what_a_kill_leaves_locks_nothing(tmp_path, holder):
    holder.kill()
    holder.join()
    assert (tmp_path / "run" / LOCK_FILE).exists()
    with locked(tmp_path / "run"):
        with pytest.raises(InUse, match=f"process {os.getpid()} on"), locked(tmp_path / "run"):
            pass
        (tmp_path / "run" / "file").touch()
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["file"]


def test_a_run_that_fails_at_once_leaves_no_folder(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "run"):
        raise KeyError
    assert not (tmp_path / "run").exists()


def _add_one(folder, count, turns):
    for _ in range(turns):
        while True:
            try:
                with locked(folder):
                    count.write_text(str(int(count.read_text()) + 1))
                break
            except InUse:
                time.sleep(0.0005)


@pytest.mark.parametrize("made", [True, False])
def test_no_two_at_a_time(tmp_path, made):
    """Processes that take and leave a folder as fast as they can: none loses another's count.

    A folder that is not there is made and removed every time.
    """
    count, folder = tmp_path / "count", tmp_path / "run"
    count.write_text("0")
    if made:
        folder.mkdir()
    processes = [FORKS.Process(target=_add_one, args=(folder, count, 100)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert count.read_text() == "400"
    assert [*tmp_path.glob("run/*")] == []


def test_the_process_before_removes_the_folder_meanwhile(tmp_path, monkeypatch):
    real_open, opened = os.open, []

    def open_late(path, *arguments, **named):
        if path == tmp_path / "run" / LOCK_FILE:
            if not opened:
                path.parent.rmdir()
            opened.append(path)
        return real_open(path, *arguments, **named)

    monkeypatch.setattr("os.open", open_late)
    with locked(tmp_path / "run"):
        assert len(opened) == 2 and (tmp_path / "run" / LOCK_FILE).exists()


def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with locked(tmp_path):
        pass
    assert "cannot be locked" in capsys.readouterr().err


def test_a_workdir_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    told = pytest.raises(OSError, match=r"cannot be written .*another --workdir")
    with told, locked(tmp_path / "file" / "run"):
        pass


def test_checkpoints_without_their_config(tmp_path):
    config = simclr.get_config("smoke")
    open_workdir(tmp_path, config)
    save(tmp_path, 1)
    open_workdir(tmp_path, config)
    (tmp_path / "config.json").unlink()
    for write in (True, False):
        with pytest.raises(ValueError, match=r"checkpoints, but no config\.json.*Put it back"):
            open_workdir(tmp_path, config, write=write)
    assert not (tmp_path / "config.json").exists()


def test_files_that_are_no_checkpoints(tmp_path):
    save(tmp_path, 1)
    for name in ("ckpt-foo.index", "ckpt-.index", "ckpt-3a.index", "ckpt--2.index", "notes.txt"):
        (tmp_path / "checkpoints" / name).write_text("stray")
    assert checkpoint_steps(tmp_path) == [1]
    assert restored(tmp_path) == (1, 1)
    save(tmp_path, 2, 3, keep=1)
    assert (tmp_path / "checkpoints" / "ckpt-foo.index").read_text() == "stray"
    assert checkpoint_steps(tmp_path) == [3]
    config = simclr.get_config("smoke")
    other = tmp_path / "other"
    (other / "checkpoints").mkdir(parents=True)
    (other / "checkpoints" / "ckpt-foo.index").touch()
    open_workdir(other, config)  # it has no checkpoint, so it needs no config


def test_damaged_lines_between_valid_metrics(tmp_path, capsys):
    rows = [{"step": step, "loss": 1 / step} for step in range(1, 8)]
    lines = [json.dumps(row).encode() for row in rows]
    lines[2] = bytes(len(lines[2]))  # zeroed
    lines[4] = lines[4][:9] + b"\xff\xfe"
    lines.insert(6, b'["no row"]')
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines) + b'\n{"step": 8, "lo')
    kept = [rows[i] for i in (0, 1, 3, 5, 6)]
    assert read_metrics(tmp_path) == kept
    writer = MetricsWriter(tmp_path, 6)
    assert "3 damaged lines" in capsys.readouterr().err
    writer.write(7, {"loss": 0.5})
    writer.close()
    assert read_metrics(tmp_path) == [*kept[:-1], {"step": 7, "loss": 0.5}]
    MetricsWriter(tmp_path, 7).close()
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_two_runs_at_once(tmp_path):
    """The second is refused while the first goes on, which is as good as new after its kill."""
    first = start(tmp_path, "--config.epochs=2")
    assert any(line.startswith("step") for line in first.stdout)
    code, output = wait(start(tmp_path, "--config.epochs=2"))
    assert code == 1 and f"in use by process {first.pid}" in output
    first.send_signal(signal.SIGKILL)
    first.communicate()
    code, output = wait(start(tmp_path, "--config.epochs=2"))
    assert code == 0 and "continuing at step" in output, output
