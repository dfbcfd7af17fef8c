"""Commands run to their end as a user runs them, without the seconds that each import would take.

A server process imports TensorFlow and the other large packages once. Each command is then a fork
of it: a process of its own, with its own flags, streams and exit status. For signals, kills and
streams that break off, start a real process.
"""

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
import traceback

ROOT = pathlib.Path(__file__).parents[1]
# Their import uses nothing of TensorFlow, so that it starts its threads in the fork.
PRELOADED = ("tensorflow", "keras", "keras_cv", "sklearn.linear_model", "scipy.stats", "matplotlib")
SECONDS = 300  # after which a command counts as hanging


def run(module, *flags):
    """Runs `python -m module *flags`; returns its `subprocess.CompletedProcess`, with texts."""
    return _run(["-m", module, *map(str, flags)])


def run_program(text, *arguments):
    """Runs `python -c text *arguments`; returns its `subprocess.CompletedProcess`, with texts."""
    return _run(["-c", text, *map(str, arguments)])


def _run(words):
    with tempfile.TemporaryDirectory() as folder:
        streams = [os.path.join(folder, name) for name in ("stdout", "stderr")]
        request = {"words": words, "streams": streams, "environment": dict(os.environ)}
        server = _server()
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        texts = [pathlib.Path(stream).read_text() for stream in streams]
    return subprocess.CompletedProcess(words, code, *texts)


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
        child = os.fork()
        if not child:
            _become(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(words, streams, environment):
    """Runs a command in place of this process, and ends with it."""
    signal.alarm(SECONDS)
    for number, path in enumerate((os.devnull, *streams)):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT
        os.dup2(os.open(path, flags), number)
    os.environ.clear()
    os.environ.update(environment)
    how, what, *arguments = words
    sys.orig_argv = [sys.executable, *words]
    sys.argv = [how, *arguments]  # as Python has it while it looks for a module
    try:
        if how == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
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
