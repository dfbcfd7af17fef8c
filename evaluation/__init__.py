"""Evaluation of pretrained encoders: absl binaries, run from a checkout."""
