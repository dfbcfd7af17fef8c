"""Starts `evaluation.export_encoder`, as this command is called now; for version 0.1 only."""

import runpy

from training.report.logs import say

if __name__ == "__main__":
    say(
        "training.export_encoder is evaluation.export_encoder now; the old name goes with version 0.2."
    )
    runpy.run_module("evaluation.export_encoder", run_name="__main__", alter_sys=True)
