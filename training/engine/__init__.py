"""The loop that trains: its steps, strategy, checkpoints, and the folder of a run."""
