"""Checkpoints: the state of a run, in its workdir."""

import contextlib
import os
import pathlib
import shutil
from typing import Any

import keras
import tensorflow as tf

from sassl_tf.errors import FileError, UserError
from sassl_tf.files import flush, flush_names, make_folder, remove_folder, short_reason
from sassl_tf.paths import UNREACHABLE, RemotePath, as_path
from sassl_tf.typing import PathLike
from training.engine.workdir import CHECKPOINTS_FOLDER, checkpoint_name, checkpoint_steps
from training.methods.online_probe import OnlineProbe
from training.report.logs import say

# Names of folders that a run leaves behind that is killed while it writes; in buckets they are
# TensorFlow's.
LEFTOVERS = {False: "." + checkpoint_name("*"), True: checkpoint_name("*_temp")}

# The names of the state that checkpoints of earlier versions do not have.
LATER = ("probe", "probe_optimizer")


def state_of(method: keras.Model, probe: OnlineProbe | None = None) -> dict[str, Any]:
    """Returns the state of a pretraining, {name: object with variables}.

    Args:
        method: a built Keras model whose optimizer is built too.
        probe: what is trained beside it.
    """
    # The seeds of layers such as Dropout, which TensorFlow does not find by itself.
    seeds = [v.value for v in method.variables if "seed_generator_state" in v.path]
    state = {"method": method, "optimizer": method.optimizer, "seeds": seeds}
    if probe is not None:
        state.update(probe=probe, probe_optimizer=probe.optimizer)
    return state


class Checkpoints:
    """Saves and restores a run's state and the step.

    The input has no state: it is a function of the step. A checkpoint is written under another
    name, and renamed when it is whole and on the disk; older ones are removed after that. So a
    power loss at any moment leaves the last checkpoint whose `save` had ended, or the next one.
    In a bucket it is written under its own name, its index last, and read back before older ones
    are removed.

    Args:
        workdir: the run's folder.
        state: {name: object with variables}, all of which are built.
        keep: how many of the latest checkpoints are kept, at least 1.
        keep_every: checkpoints of steps divisible by it are kept as well; 0 for none.
        options: a `tf.train.CheckpointOptions`.

    Raises:
        ValueError: `keep` is below 1.
    """

    def __init__(
        self,
        workdir: PathLike,
        state: dict[str, Any],
        keep: int = 2,
        keep_every: int = 0,
        options: tf.train.CheckpointOptions | None = None,
    ) -> None:
        if keep < 1:
            raise UserError(f"keep_checkpoints is {keep}; expected 1 or more.")
        self.step = tf.Variable(0, dtype=tf.int64, name="step")
        self._checkpoint = tf.train.Checkpoint(step=self.step, **state)
        earlier = {name: part for name, part in state.items() if name not in LATER}
        self._earlier = tf.train.Checkpoint(step=self.step, **earlier)
        self._workdir = as_path(workdir)
        self._folder = self._workdir / CHECKPOINTS_FOLDER
        self._keep, self._keep_every = keep, keep_every
        self._options = options

    def restore(self) -> int:
        """Restores the latest checkpoint that can be read.

        Returns:
            The step to continue after; 0 if there is no checkpoint.

        Raises:
            ValueError: there are checkpoints, and none of them can be read.
            OSError: the last one is not damaged, but its bucket does not answer.
        """
        steps = checkpoint_steps(self._workdir)
        for step in reversed(steps):
            path = self._folder / checkpoint_name(step)
            try:
                status = self._checkpoint_for(path).read(str(path), self._options)
                # A weight without a value in the checkpoint is an error, not a fresh weight.
                status.assert_existing_objects_matched()
            except UNREACHABLE as error:
                raise FileError(
                    f"The checkpoint {path} cannot be read now: {short_reason(error)}. The same "
                    "command continues when it can be."
                ) from error
            except AssertionError as error:
                raise UserError(
                    f"The checkpoint {path} lacks weights that this run has: another version of "
                    "the package wrote it. Continue with that version, or start again with another "
                    f"workdir. ({short_reason(error)})"
                ) from error
            except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
                path.with_name(f"{path.name}.index").exists()  # raises where a bucket refuses us
                reason = short_reason(error)
                say(f"The checkpoint {path} is damaged ({reason}); trying the one before it.")
                continue
            return int(self.step.numpy())
        if steps:
            raise UserError(
                f"None of the {len(steps)} checkpoints in {self._folder} can be read. Restore "
                "the folder, or start again with another workdir."
            )
        return 0

    def _checkpoint_for(self, path):
        """Returns the checkpoint to read a file with: one without what the file cannot have."""
        names = (name for name, _ in tf.train.list_variables(str(path)))
        return self._checkpoint if any(n.startswith(LATER) for n in names) else self._earlier

    def save(self, step: int) -> None:
        """Writes the checkpoint of a step, then removes those that are not to be kept.

        Raises:
            OSError: it could not be written; the earlier checkpoints are unchanged.
        """
        self.step.assign(step)
        folder = self._folder
        try:
            if isinstance(folder, RemotePath):
                self._write_to_bucket(folder, step)
            else:
                self._write(folder, step)
        except (OSError, tf.errors.OpError) as error:
            steps = checkpoint_steps(self._workdir)
            raise FileError(
                f"The checkpoint of step {step} could not be written to {self._folder} "
                f"({short_reason(error)}). Those of the steps {steps} are whole. Make room, or "
                "make the folder writable; the same command continues from the last of them."
            ) from error
        self._remove_old(step)

    def _write(self, folder: pathlib.Path, step: int) -> None:
        beside = folder / f".{checkpoint_name(step)}"
        try:
            shutil.rmtree(beside, ignore_errors=True)  # left by a run that was killed here
            make_folder(beside)
            path = str(beside / checkpoint_name(step))
            self._checkpoint.write(path, self._options)
            flush(beside)
            check_readable(path)
            # The index is renamed last: a checkpoint without an index does not count.
            for file in sorted(beside.iterdir(), key=lambda file: file.suffix == ".index"):
                os.replace(file, folder / file.name)
            flush_names(folder)
            beside.rmdir()
        except (OSError, tf.errors.OpError):
            shutil.rmtree(beside, ignore_errors=True)
            raise

    def _write_to_bucket(self, folder: RemotePath, step: int) -> None:
        # A rename would be a copy. TensorFlow writes the index last, and an object appears when it
        # is whole: a checkpoint that is broken off has no index, and does not count.
        path = folder / checkpoint_name(step)
        index = path.with_name(f"{path.name}.index")
        index.unlink(missing_ok=True)
        try:
            self._checkpoint.write(str(path), self._options)
            check_readable(str(path))
        except (OSError, tf.errors.OpError):
            with contextlib.suppress(OSError):
                index.unlink(missing_ok=True)
            raise

    def _remove_old(self, newest: int) -> None:
        """Removes old checkpoints, and those after the newest, which `restore` found damaged."""
        steps = checkpoint_steps(self._workdir)
        good = [step for step in steps if step <= newest]
        for step in steps:
            kept_for_ever = self._keep_every and step % self._keep_every == 0
            if step > newest or (step not in good[-self._keep :] and not kept_for_ever):
                # The index first: files without it do not count, should this be interrupted.
                (self._folder / f"{checkpoint_name(step)}.index").unlink()
                for file in self._folder.glob(f"{checkpoint_name(step)}.*"):
                    file.unlink()
        # Data without an index, as a kill between the two leaves it.
        for data in self._folder.glob(f"{checkpoint_name('*')}.data-*"):
            if not data.with_name(f"{data.name.rpartition('.data-')[0]}.index").exists():
                data.unlink()
        for leftover in self._folder.glob(LEFTOVERS[isinstance(self._folder, RemotePath)]):
            remove_folder(leftover)


def check_readable(path: str) -> None:
    """Reads all of a checkpoint; TensorFlow checks the checksum of each tensor.

    It takes about as long as copying the file in memory, as the file was just written.

    Raises:
        tf.errors.OpError: the checkpoint is damaged.
    """
    reader = tf.train.load_checkpoint(path)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
