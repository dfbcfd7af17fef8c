"""The distillation of the compact stylizer from Magenta's mobile model."""
