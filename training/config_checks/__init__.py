"""The rules that a pretraining config must follow; all problems are reported at once."""
