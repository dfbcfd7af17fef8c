"""The start and the end of a command: wrong flags, errors for people, Ctrl-C."""

import os
import signal
import subprocess
import sys
from unittest import mock

import pytest

from sassl_tf.errors import UserError
from sassl_tf.representation.knn import knn_predict
from tests import commands
from tests.commands import ROOT
from training.command import binary, quiet
from training.engine import preemption


def test_mistakes_are_answered_with_the_nearest_name(tmp_path):
    config = "--config=training/configs/simclr.py:smoke"
    workdir = f"--workdir={tmp_path / 'run'}"
    answers = {
        (config, workdir, "--config.sassl.enable=False"): 'field sassl.enable. Did you mean "sassl',
        (config + "y", workdir): "preset 'smokey'. Did you mean \"smoke\"?",
        (config.replace("simclr", "simlcr"), workdir): 'mean "training/configs/simclr.py"?',
        (config, workdir, "again"): "again is not a flag",
        (config, workdir, "--config.method=simcrl"): 'Did you mean "simclr"?',
    }
    for flags, answer in answers.items():
        done = commands.run("training.pretrain", *flags)
        assert done.returncode == 1 and answer in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) <= 3, done.stderr  # no traceback


def test_a_mistake_is_answered_without_the_lines_of_tensorflow(tmp_path):
    """In a process that imports TensorFlow itself, and looks for devices."""
    command = [sys.executable, "-m", "training.pretrain", f"--workdir={tmp_path / 'run'}"]
    flags = ["--config=training/configs/simclr.py:smoke", "--config.method=simcrl"]
    done = subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and 'Did you mean "simclr"?' in done.stderr
    assert len(done.stderr.splitlines()) <= 3, done.stderr


def caught(function, *arguments):
    with pytest.raises(Exception) as raised:
        function(*arguments)
    return raised.value


def test_only_errors_for_people_lose_their_traceback(tmp_path):
    assert binary.is_for_people(caught(knn_predict, [[1.0]], [0], [[1.0]], 1, 0))  # k is 0
    assert binary.is_for_people(caught((tmp_path / "nothing").read_text))
    assert not binary.is_for_people(caught(lambda: {}["a bug"]))
    assert not binary.is_for_people(caught(int, "no number"))
    assert not binary.is_for_people(caught(len, None))


@pytest.mark.parametrize(
    ("error", "expected_code", "expected_lines"),
    [
        (UserError("k is 0; expected 1."), 1, "\nError: k is 0; expected 1.\n"),
        (ValueError("k"), None, ""),
    ],
)
def test_what_a_command_shows_of_an_error(
    monkeypatch, capsys, error, expected_code, expected_lines
):
    monkeypatch.setattr(binary.flags, "FLAGS", mock.MagicMock(verbosity=0))
    with pytest.raises(SystemExit if expected_code else ValueError) as ended:
        binary._main(mock.Mock(side_effect=error), False, False, ["program"])
    assert getattr(ended.value, "code", None) == expected_code
    assert capsys.readouterr().err == expected_lines


@pytest.fixture
def sigint():
    """Python's own handler, which a test suite in the background may lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_with_a_line(monkeypatch, capsys, sigint):
    monkeypatch.setattr(binary.flags, "FLAGS", mock.MagicMock(verbosity=0))
    with pytest.raises(SystemExit) as ended:
        binary._main(lambda _: os.kill(os.getpid(), signal.SIGINT), True, False, ["program"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\nInterrupted. The same command continues.\n"


def test_a_second_ctrl_c_does_not_wait(sigint):
    with preemption.stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is sigint
    told = preemption.Preempted(3, 9, stop.number)
    assert str(told) == "Stopped by Ctrl-C; step 3 of 9 is saved." and told.status == 130


def test_jobs_in_the_background_ignore_ctrl_c(sigint):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with preemption.stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.number is None


def test_the_end_runs_what_was_registered_and_clears_nothing_away():
    """TensorFlow takes up to a minute to clear away an input pipeline."""
    program = """
import atexit, sys
from training.command import binary
class Pipeline:
    def __del__(self):
        print("cleared away")
kept = Pipeline()
def main(_):
    atexit.register(print, "at the end")
    print("done", end=" ")
    sys.exit(3)
binary.run(main)
"""
    done = commands.run_program(program)
    assert (done.returncode, done.stdout) == (3, "done at the end\n"), done.stderr


@pytest.mark.parametrize("words", [["--config={}:smoke"], ["--config", "{}:smoke"]])
def test_a_config_file_whose_path_has_a_space(words, tmp_path, monkeypatch):
    config = tmp_path / "my config.py"
    words = ["program", *(word.format(config) for word in words), "--config.batch_size=8"]
    monkeypatch.setattr(binary.flags, "FLAGS", {"config": None})
    assert binary._config_argument(words) == f"{config}:smoke"
    with pytest.raises(binary.flags.Error, match=r"my config\.py"):
        binary._check_config_file(words)
    config.touch()
    binary._check_config_file(words)


def test_what_is_no_noise_is_passed_on(capfd):
    with quiet.without_noise():
        os.write(2, b"I0000 port.cc:153] oneDNN custom operations are on. You may see\n")
        os.write(2, b"E0000 cuda: driver version is insufficient\n")
    assert capfd.readouterr().err == "E0000 cuda: driver version is insufficient\n"


def test_the_last_words_of_an_aborted_process_come_out():
    program = "import os\nfrom training.command import quiet\nwith quiet.without_noise():\n"
    program += "    os.write(2, b'F0000 no AVX\\n')\n    os.abort()\n"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGABRT and done.stderr == "F0000 no AVX\n"


def test_a_preempted_run_within_another_binary(monkeypatch, capsys):
    """Such as the demo, which pretrains twice."""

    def main(_):
        raise preemption.Preempted(3, 9, signal.SIGTERM)

    monkeypatch.setattr(binary.flags, "FLAGS", {"verbosity": mock.Mock(present=0)})
    with pytest.raises(SystemExit) as ended:
        binary._main(main, True, False, ["demo"])
    assert ended.value.code == 143
    assert "step 3 of 9 is saved. The same command continues." in capsys.readouterr().err
