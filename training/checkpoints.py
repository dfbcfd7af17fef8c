"""Checkpoints: everything of a run that has state, in the workdir."""

import pathlib

import tensorflow as tf


class Checkpoints:
    """Saves and restores a method, its optimizer and the step.

    The input needs no state: it is a function of the step.

    Args:
        workdir: the run's folder.
        method: a built Keras model whose optimizer is built too.
        max_to_keep: how many of the latest are kept.
    """

    def __init__(self, workdir, method, max_to_keep=2):
        self.step = tf.Variable(0, dtype=tf.int64, name="step")
        self._checkpoint = tf.train.Checkpoint(
            method=method, optimizer=method.optimizer, step=self.step
        )
        folder = pathlib.Path(workdir) / "checkpoints"
        self._manager = tf.train.CheckpointManager(self._checkpoint, folder, max_to_keep)

    def restore(self):
        """Restores the latest checkpoint, if there is one; returns the step to go on from."""
        latest = self._manager.latest_checkpoint
        if latest:
            # A weight of the model without a value in the checkpoint is an error, not a fresh one.
            self._checkpoint.restore(latest).assert_existing_objects_matched()
        return int(self.step.numpy())

    def save(self, step):
        self.step.assign(step)
        self._manager.save(checkpoint_number=step)
