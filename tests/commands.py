"""Commands as a user runs them, without the seconds that each import would take.

A server process imports TensorFlow and the other large packages once. Each command is then a fork
of it: a process of its own, with its own session, flags, streams and exit status. What happens
while Python imports `training` (its lines of before, Ctrl-C in the first second) needs a real
process.
"""

import concurrent.futures
import contextlib
import functools
import importlib
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).parents[1]
# Their import uses nothing of TensorFlow, so that it starts its threads in the fork.
PRELOADED = (
    "tensorflow",
    "keras",
    "keras_cv",
    "sklearn.linear_model",
    "sklearn.metrics",
    "scipy.stats",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "absl.app",
    "ml_collections.config_flags",
    "tqdm.auto",
)
SECONDS = 300  # after which a command counts as hanging


def run(module, *flags):
    """Runs `python -m module *flags`; returns its `subprocess.CompletedProcess`, with texts."""
    return _run(["-m", module, *map(str, flags)])


def run_program(text, *arguments):
    """Runs `python -c text *arguments`; returns its `subprocess.CompletedProcess`, with texts."""
    return _run(["-c", text, *map(str, arguments)])


def start(module, *flags, **environment):
    """Starts `python -m module *flags`; returns a `Command` with both streams in its stdout.

    Args:
        module: name of the module.
        *flags: its arguments.
        **environment: variables in addition to those of this process.
    """
    words = ["-m", module, *map(str, flags)]
    return Command(words, {**os.environ, **environment}, together=True)


def _run(words):
    command = Command(words, dict(os.environ))
    texts = command.communicate()
    return subprocess.CompletedProcess(words, command.returncode, *texts)


class Command:
    """A command that was started. It has what `subprocess.Popen` has, as far as tests need it.

    Its process leads a session of its own.
    """

    def __init__(self, words, environment, together=False):
        self._folder = tempfile.TemporaryDirectory()
        home = pathlib.Path(self._folder.name)
        pipes = [home / name for name in ("stdout", *([] if together else ["stderr"]))]
        for pipe in pipes:
            os.mkfifo(pipe)
        self._status = home / "status"
        streams = [str(pipes[0]), str(pipes[-1])]
        request = {"words": words, "environment": environment, "streams": streams}
        server = _server()
        server.stdin.write(json.dumps({**request, "status": str(self._status)}) + "\n")
        server.stdin.flush()
        self.pid = int(server.stdout.readline())
        self._pipes = [open(pipe) for pipe in pipes]  # noqa: SIM115
        self.stdout, self.returncode = self._pipes[0], None

    def poll(self):
        if self.returncode is None and self._status.exists():
            self.returncode = int(self._status.read_text())
        return self.returncode

    def wait(self, timeout=SECONDS):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.pid, timeout)
            time.sleep(0.01)
        return self.returncode

    def communicate(self, timeout=SECONDS):
        """Returns the texts of stdout and stderr, or of the one for both."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            texts = [*pool.map(lambda pipe: pipe.read(), self._pipes)]
        self.wait(timeout)
        return texts if len(texts) == 2 else (*texts, None)

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)


@functools.cache
def _server():
    """The server of this process; it ends when its standard input does."""
    command = [sys.executable, "-m", "tests.commands"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=ROOT, text=True, **pipes)


def _serve():
    for name in PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        reader, writer = os.pipe()
        if not os.fork():
            os.close(reader)
            _watch(writer, **json.loads(line))
        os.close(writer)
        with open(reader) as told:
            print(told.read(), flush=True)
        _reap()


def _reap():
    """Clears away the watchers that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _watch(writer, status, **command):
    """Starts a command, tells its process, and writes its exit status to a file."""
    child = os.fork()
    if not child:
        os.close(writer)
        _become(**command)
    os.write(writer, str(child).encode())
    os.close(writer)
    _, ended = os.waitpid(child, 0)
    beside = pathlib.Path(f"{status}.new")
    with contextlib.suppress(FileNotFoundError):  # its test is over
        beside.write_text(str(os.waitstatus_to_exitcode(ended)))
        beside.rename(status)
    os._exit(0)


def _become(words, streams, environment):
    """Runs a command in place of this process, and ends with it."""
    os.setsid()
    signal.alarm(SECONDS)
    for number, path in enumerate((os.devnull, *streams)):
        stream = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY)
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    how, what, *arguments = words
    sys.orig_argv = [sys.executable, *words]
    sys.argv = [how, *arguments]  # as Python has it while it looks for a module
    try:
        if how == "-m":
            kept = runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            # Kept until the end: clearing away an input pipeline can take TensorFlow a minute.
            kept = {"__name__": "__main__"}
            exec(compile(what, "<string>", "exec"), kept)
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    _serve()
