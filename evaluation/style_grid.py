"""Starts `evaluation.alpha_beta_grid`, as this command is called now; for version 0.1 only."""

import runpy

from training.report.logs import say

MODULE = "evaluation.alpha_beta_grid"

if __name__ == "__main__":
    say(f"This command is called {MODULE} now; its old name goes with version 0.2.")
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
