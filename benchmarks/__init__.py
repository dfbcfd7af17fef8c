"""Speed and fidelity, as ratios to named alternatives; each prints a table and writes JSON."""

from training.command.startup import begin_command

begin_command(__name__)
