"""Checkpoints: everything of a run that has state, in the workdir."""

import os
import pathlib
import shutil

import tensorflow as tf

from sassl_tf.errors import FileError, UserError
from sassl_tf.files import flush, flush_names, make_folder, short_reason
from training.engine.workdir import checkpoint_steps
from training.report.logs import say


def state_of(method):
    """What a pretraining restores: {name: object with variables}.

    Args:
        method: a built Keras model whose optimizer is built too.
    """
    # Of layers such as Dropout; TensorFlow does not find them by itself.
    seeds = [v.value for v in method.variables if "seed_generator_state" in v.path]
    return {"method": method, "optimizer": method.optimizer, "seeds": seeds}


class Checkpoints:
    """Saves and restores a run's state and the step.

    The input needs no state: it is a function of the step. A checkpoint is written beside the
    others and renamed when it is whole and on the disk; only then do older ones go. A power loss
    at any moment leaves the last one whose `save` had ended, or the next.

    Args:
        workdir: the run's folder.
        state: {name: object with variables}, all of which are built.
        keep: how many of the latest are kept, 1 at least.
        keep_every: those of steps divisible by it are kept as well; 0 for none.
        options: a `tf.train.CheckpointOptions`.

    Raises:
        ValueError: `keep` is not 1 at least.
    """

    def __init__(self, workdir, state, keep=2, keep_every=0, options=None):
        if keep < 1:
            raise UserError(f"keep_checkpoints is {keep}; expected 1 or more.")
        self.step = tf.Variable(0, dtype=tf.int64, name="step")
        self._checkpoint = tf.train.Checkpoint(step=self.step, **state)
        self._workdir = pathlib.Path(workdir)
        self._folder = self._workdir / "checkpoints"
        self._keep, self._keep_every = keep, keep_every
        self._options = options

    def restore(self):
        """Restores the latest checkpoint that can be read; returns the step to go on from, or 0.

        Raises:
            ValueError: there are checkpoints, and none of them can be read.
        """
        steps = checkpoint_steps(self._workdir)
        for step in reversed(steps):
            path = self._folder / f"ckpt-{step}"
            try:
                status = self._checkpoint.read(str(path), self._options)
                # A weight without a value in the checkpoint is an error, not a fresh weight.
                status.assert_existing_objects_matched()
            except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
                reason = short_reason(error)
                say(f"The checkpoint {path} is damaged ({reason}): trying the one before.")
                continue
            return int(self.step.numpy())
        if steps:
            raise UserError(
                f"None of the {len(steps)} checkpoints in {self._folder} can be read. Restore "
                "the folder, or start again with another workdir."
            )
        return 0

    def save(self, step):
        """Writes the checkpoint of a step, then removes those that are not to be kept.

        Raises:
            OSError: it could not be written; the earlier ones are as they were.
        """
        self.step.assign(step)
        beside = self._folder / f".ckpt-{step}"
        try:
            shutil.rmtree(beside, ignore_errors=True)  # of a run that was killed here
            make_folder(beside)
            path = str(beside / f"ckpt-{step}")
            self._checkpoint.write(path, self._options)
            flush(beside)
            check_readable(path)
            # The index comes last: a checkpoint without one does not count.
            for file in sorted(beside.iterdir(), key=lambda file: file.suffix == ".index"):
                os.replace(file, self._folder / file.name)
            flush_names(self._folder)
            beside.rmdir()
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(beside, ignore_errors=True)
            steps = checkpoint_steps(self._workdir)
            raise FileError(
                f"The checkpoint of step {step} could not be written to {self._folder} "
                f"({short_reason(error)}). Those of the steps {steps} are whole. Make room, or the "
                "folder writable; the same command continues from the last of them."
            ) from error
        self._remove_old(step)

    def _remove_old(self, newest):
        """Those before the latest; and any after it, damaged ones that `restore` had to pass."""
        steps = checkpoint_steps(self._workdir)
        good = [step for step in steps if step <= newest]
        for step in steps:
            kept_for_ever = self._keep_every and step % self._keep_every == 0
            if step > newest or (step not in good[-self._keep :] and not kept_for_ever):
                # The index first: what is left, if this is broken off, does not count.
                (self._folder / f"ckpt-{step}.index").unlink()
                for file in self._folder.glob(f"ckpt-{step}.*"):
                    file.unlink()
        for leftover in self._folder.glob(".ckpt-*"):
            shutil.rmtree(leftover, ignore_errors=True)


def check_readable(path):
    """Reads all of a checkpoint, in which TensorFlow keeps a checksum of each tensor.

    That takes about as long as copying the file within memory: it was written just now.

    Raises:
        tf.errors.OpError: it is damaged.
    """
    reader = tf.train.load_checkpoint(path)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
