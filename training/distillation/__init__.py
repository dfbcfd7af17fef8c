"""Distillation: how the compact stylizer learns from Magenta's mobile model."""
