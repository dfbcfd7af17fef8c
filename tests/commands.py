"""Runs a command in the process of the test, which spares the start of TensorFlow."""

import contextlib
import dataclasses
import io
import runpy
import sys
import warnings
from unittest import mock

from absl import flags

from training.command import binary

PACKAGES = ("training.", "evaluation.", "benchmarks.")


@dataclasses.dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def run_here(module, *arguments):
    """As `python -m MODULE ARGUMENTS`, with the flags that it defines taken away again.

    Flags of other commands, which tests have imported, are put aside meanwhile.
    """
    aside = flags_of_other_commands()
    for _, flag in aside:
        delattr(flags.FLAGS, flag.name)
    before = {*flags.FLAGS}
    stdout, stderr, status = io.StringIO(), io.StringIO(), 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", [module, *map(str, arguments)]))
        stack.enter_context(mock.patch.object(binary, "outlive_the_terminal"))
        stack.enter_context(contextlib.redirect_stdout(stdout))
        stack.enter_context(contextlib.redirect_stderr(stderr))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as ended:
            status = ended.code or 0
        finally:
            for name in {*flags.FLAGS} - before:
                delattr(flags.FLAGS, name)
            for module, flag in aside:
                flags.FLAGS[flag.name] = flag
                flags.FLAGS.register_flag_by_module(module, flag)
            flags.FLAGS.unparse_flags()
    return Done(status, stdout.getvalue(), stderr.getvalue())


def flags_of_other_commands():
    """[(module, flag)] of all flags that an imported module with a `main` has defined."""
    return [
        (module, flag)
        for module, own in flags.FLAGS.flags_by_module_dict().items()
        if module.startswith(PACKAGES) and hasattr(sys.modules.get(module), "main")
        for flag in own
    ]
