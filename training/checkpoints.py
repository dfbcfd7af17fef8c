"""Checkpoints: everything of a run that has state, in the workdir."""

import pathlib

import tensorflow as tf

from training.logs import say


class Checkpoints:
    """Saves and restores a method, its optimizer and the step.

    The input needs no state: it is a function of the step. TensorFlow writes each checkpoint beside
    the others and renames it when it is whole.

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
        self._folder = pathlib.Path(workdir) / "checkpoints"
        self._manager = tf.train.CheckpointManager(self._checkpoint, self._folder, max_to_keep)

    def restore(self):
        """Restores the latest checkpoint that can be read; returns the step to go on from, or 0.

        Raises:
            ValueError: there are checkpoints, and none of them can be read.
        """
        # By the files there are, not by TensorFlow's list of them, which may be damaged as well.
        numbers = [int(path.stem.rpartition("-")[2]) for path in self._folder.glob("ckpt-*.index")]
        for number in sorted(numbers, reverse=True):
            path = self._folder / f"ckpt-{number}"
            try:
                status = self._checkpoint.read(str(path))
                # A weight without a value in the checkpoint is an error, not a fresh weight.
                status.assert_existing_objects_matched()
            except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
                reason = str(error).partition("\n")[0][:200]
                say(f"The checkpoint {path} is damaged ({reason}): trying the one before.")
                continue
            return int(self.step.numpy())
        if numbers:
            raise ValueError(
                f"None of the {len(numbers)} checkpoints in {self._folder} can be read. Restore "
                "the folder, or start again with another workdir."
            )
        return 0

    def save(self, step):
        self.step.assign(step)
        self._manager.save(checkpoint_number=step)
