"""Starts `evaluation.alpha_beta_grid`, as this command is called now; for version 0.1 only."""

from training.command.moved import run_moved

if __name__ == "__main__":
    run_moved("evaluation.alpha_beta_grid")
