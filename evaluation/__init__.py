"""Evaluation of pretrained encoders: absl binaries, run from a checkout."""

from training.command import quiet  # noqa: F401, first of all
