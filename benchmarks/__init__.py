"""Speed and fidelity, as ratios to named alternatives; each prints a table and writes JSON."""

from training.command import quiet  # noqa: F401, first of all
