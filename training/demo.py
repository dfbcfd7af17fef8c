"""Starts `evaluation.demo`, as this command is called now; for version 0.1 only."""

import runpy

from training.report.logs import say

if __name__ == "__main__":
    say("training.demo is evaluation.demo now; the old name goes with version 0.2.")
    runpy.run_module("evaluation.demo", run_name="__main__", alter_sys=True)
