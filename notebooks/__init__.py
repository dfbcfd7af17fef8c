"""Notebooks for Colab, and the command that executes them."""

from training.command.startup import begin_command

begin_command(__name__)
