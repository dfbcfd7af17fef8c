"""The folder of a run: the names of its files, and the config that it belongs to."""

import contextlib
import pathlib
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from sassl_tf.checked import Damaged, read_json, write_json
from sassl_tf.errors import FileError, UserError
from sassl_tf.files import append
from sassl_tf.paths import AnyPath, RemotePath, as_path
from sassl_tf.presets import CONFIG_FILE as CONFIG_FILE
from sassl_tf.presets import ENCODER_FILE as ENCODER_FILE
from sassl_tf.typing import PathLike
from training.configs.earlier import as_written, up_to_date
from training.report.logs import say

# Code that reads or writes a file of a run takes its name from here.
COMMANDS_FILE = "commands.txt"
METRICS_FILE = "metrics.jsonl"
VIEWS_FILE = "views.png"
ATTENTION_FILE = "attention.png"
CHECKPOINTS_FOLDER = "checkpoints"
LOCK_FILE = ".lock"
STYLIZER_FILE = "compact.safetensors"  # the result of a distillation

ABSENT = "(absent)"
LOST = (
    f"Put it back from a backup. Or start the run's own command (it is in {COMMANDS_FILE}) with "
    f"another --workdir, stop it, and copy the {CONFIG_FILE} that it wrote. Or choose another "
    "--workdir."
)
_PRECISION = "fingerprints.stylizer_precision"
_ORDER = "fingerprints.order"
_STYLIZER = "fingerprints.stylizer"
_IMAGES = "fingerprints.listing"
_INITIAL = "fingerprints.init_from"
_ABOUT_IMAGES = (
    "The images are others than when this run was begun (fingerprints.images is their number, "
    "fingerprints.listing their names and sizes): put them back as they were, and it continues.\n"
)
_ABOUT_ORDER = (
    "The order of the images in an epoch is drawn in another way than when this run was begun, so "
    "that it would see some images twice and others not at all. Finish it with the version of "
    "sassl_tf that began it, or begin it again.\n"
)


def open_workdir(
    workdir: PathLike,
    config: ConfigDict,
    fingerprints: Mapping[str, Any] | None = None,
    write: bool = True,
) -> AnyPath:
    """Makes the folder and writes `config.json`, or checks that it holds the same config.

    A run without a checkpoint and an encoder has nothing to lose, so another config may take its
    place. The command is added to `commands.txt`. The stylizer's precision may change: unless the
    config sets it, the processor decides it. A line then says so, and the run continues.

    Args:
        workdir: a folder, made if it does not exist.
        config: a ConfigDict.
        fingerprints: dict of JSON values that must also be the same for the run to continue; the
            file keeps them under "fingerprints".
        write: False checks and writes nothing, for workers that are not the chief.

    Returns:
        The folder's Path.

    Raises:
        ValueError: the folder belongs to a run with another config (the message lists the
            differences), it has checkpoints but no readable config, or it has a finished encoder
            and no checkpoints.
        OSError: the folder cannot be made or written.
    """
    workdir = workdir_path(workdir)
    path = workdir / CONFIG_FILE
    new = as_written(config)
    if fingerprints:
        new["fingerprints"] = fingerprints
    begun = bool(checkpoint_steps(workdir))
    if begun:
        _check_same(workdir, _config_of_checkpoints(path), new)
    elif (workdir / ENCODER_FILE).is_file():
        raise UserError(
            f"{workdir} has the encoder of a run that is done, and no checkpoints to continue "
            "from. Give another --workdir. Or, to train again, remove "
            f"{ENCODER_FILE} and the results of evaluations there."
        )
    if write:
        with writable(workdir):
            if not begun:
                write_json(path, new)
            append(workdir / COMMANDS_FILE, this_command() + "\n")
    return workdir


def workdir_path(workdir: PathLike) -> AnyPath:
    """Returns the Path of a workdir, a `RemotePath` if it is a URL."""
    return as_path(workdir)


def local_workdir_path(workdir: PathLike) -> pathlib.Path:
    """Returns the Path of a workdir that has to be a folder.

    Raises:
        ValueError: it is a URL.
    """
    path = as_path(workdir)
    if isinstance(path, RemotePath):
        raise UserError(
            f"workdir is {str(path)!r}; this command needs a folder that it can lock. Give one, or "
            "mount the bucket (gcsfuse, s3fs) and give its folder."
        )
    return path


@contextlib.contextmanager
def writable(folder: PathLike) -> Iterator[None]:
    """Turns an OSError of the code inside into one that says what to do about the folder."""
    try:
        yield
    except OSError as error:
        raise FileError(
            f"The workdir {folder} cannot be written ({error}). Choose another --workdir, or make "
            "it writable."
        ) from error


def checkpoint_name(step: int | str) -> str:
    """Returns the name that the files of a step's checkpoint begin with."""
    return f"ckpt-{step}"


def checkpoint_steps(workdir: PathLike) -> list[int]:
    """Returns the steps whose checkpoints are there, in ascending order."""
    files = (as_path(workdir) / CHECKPOINTS_FOLDER).glob("ckpt-*.index")
    matches = (re.fullmatch(r"ckpt-(\d+)\.index", file.name) for file in files)
    return sorted(int(match[1]) for match in matches if match)


def _config_of_checkpoints(path):
    try:
        return up_to_date(read_json(path))
    except FileNotFoundError:
        raise UserError(
            f"{path.parent} holds checkpoints, but no {path.name}, without which nobody can know "
            f"which run they belong to. {LOST}"
        ) from None
    except Damaged as damage:
        raise UserError(f"{damage.found} {LOST}") from damage


def _check_same(workdir, old, new):
    changes = {name: (before, after) for name, before, after in differences(old, new)}
    changes.pop(_INITIAL, None)  # the checkpoint has the weights
    if changes.get(_IMAGES, (None,))[0] == ABSENT:  # as in distillations of earlier versions
        del changes[_IMAGES]
    before, after = changes.pop(_PRECISION, (None, None))
    if changes:
        lines = sorted(f"{name}: there {a!r}, here {b!r}" for name, (a, b) in changes.items())
        listed = "\n  ".join(lines)
        raise UserError(
            f"{workdir} holds a run with another config:\n  {listed}\n"
            f"{_about_stylizer(changes.get(_STYLIZER, (None,))[0])}"
            f"{_ABOUT_ORDER if _ORDER in changes else ''}"
            f"{_ABOUT_IMAGES if _IMAGES in changes else ''}"
            "Continue it with the same config, or choose another --workdir."
        )
    if before != after and before != ABSENT:  # earlier versions did not record the precision
        say(
            f"{workdir} was begun with a stylizer in {before}; here it is in {after}, and stylized "
            f"views differ a little from here on. A run with --config.{new['style']}.precision="
            '"float32" or "bfloat16" is the same on every processor.'
        )


def _about_stylizer(fingerprint):
    """Returns a line if the fingerprint is that of an earlier version's stylizer, else ""."""
    from sassl_tf.stylizers.compact import EARLIER_VERSIONS

    if fingerprint not in EARLIER_VERSIONS:
        return ""
    version = EARLIER_VERSIONS[fingerprint]
    return f"The stylizer there is {version}, which this package no longer has.\n"


def differences(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yields (dotted name, old value, new value) of each field in which two configs differ."""
    for key in old.keys() | new.keys():
        before, after = old.get(key, ABSENT), new.get(key, ABSENT)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}", before, after


def this_command() -> str:
    """Returns the command line of this process, ready to be typed again."""
    return shlex.join(["python", *sys.orig_argv[1:]])
