"""Starts `evaluation.demo`, as this command is called now; for version 0.1 only."""

from training.command.moved import run_moved

if __name__ == "__main__":
    run_moved("evaluation.demo")
