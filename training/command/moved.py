"""Commands that have another name now; the old one works for version 0.1."""

import runpy

from training.report.logs import say


def run_moved(module: str) -> None:
    """Says what a command is called now, and runs it in this process.

    Args:
        module: the module that it has moved to, such as "evaluation.demo".
    """
    say(f"This command is called {module} now; its old name goes with version 0.2.")
    runpy.run_module(module, run_name="__main__", alter_sys=True)
