"""Runs `evaluation.study`, which has the documentation; this is another name of that command."""

import runpy

if __name__ == "__main__":
    runpy.run_module("evaluation.study", run_name="__main__", alter_sys=True)
