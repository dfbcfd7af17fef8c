"""Reads [[module, flag, ...], ...] from standard input and parses the flags as the binary would.

Each in a process of its own, as two binaries' flags clash; forked after the slow imports.
"""

import json
import os
import runpy
import sys
from unittest import mock

from absl import app, flags

import evaluation.evaluate  # noqa: F401
import training.engine.loop  # noqa: F401


def parse_only(main, argv=None, flags_parser=None):
    """In place of `app.run`."""
    _, *more = (flags_parser or flags.FLAGS)(sys.argv)
    takes_more = getattr(main, "args", (None, None, False))[2]  # binary.run's `positional`
    assert takes_more or not more, f"{more} are no flags"
    if "config" in flags.FLAGS:
        assert flags.FLAGS.config.batch_size > 0  # a config is loaded when it is first used
    os._exit(0)  # at once: Python would take seconds to clear away what was imported


def main():
    for module, *arguments in json.load(sys.stdin):
        child = os.fork()
        if child == 0:
            sys.argv = [module, *arguments]
            with mock.patch.object(app, "run", parse_only):
                runpy.run_module(module, run_name="__main__")
            os._exit(3)  # it never called app.run
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"python -m {module} {' '.join(arguments)}: not as the binary wants it")


if __name__ == "__main__":
    main()
