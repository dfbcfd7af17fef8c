"""The folder of a run, and the config that owns it."""

import contextlib
import json
import pathlib
import re
import shlex
import sys

from sassl_tf.checked import Damaged, read_json, write_json
from sassl_tf.errors import FileError, UserError
from training.report.logs import say

COMMANDS_FILE = "commands.txt"
ABSENT = "(absent)"
LOST = (
    "Put it back from a backup. Else start the run's own command (commands.txt has it) with "
    "another --workdir, stop it, and copy the config.json that it wrote. Or choose another "
    "--workdir."
)
_PRECISION = "fingerprints.stylizer_precision"
_ORDER = "fingerprints.order"
_STYLIZER = "fingerprints.stylizer"
_ABOUT_ORDER = (
    "The order of the images in an epoch is drawn in another way than when this run was begun, so "
    "that it would see some images twice and others not at all. Finish it with the version of "
    "sassl_tf that began it, or begin it again.\n"
)


def open_workdir(workdir, config, fingerprints=None, write=True):
    """Makes the folder and writes `config.json`, or checks that it holds the same config.

    A run without a checkpoint has nothing to lose: another config may take its place. The command
    is added to `commands.txt`. Where the stylizer's precision alone has changed, which the
    processor chooses unless the config does, a line says so, and the run goes on.

    Args:
        workdir: a folder, made if need be.
        config: a ConfigDict.
        fingerprints: what else must be the same for the run to continue, JSON-ready; kept in the
            file under "fingerprints".
        write: False only checks, in workers that are not the chief.

    Raises:
        ValueError: the folder belongs to a run with another config, and says what differs; or it
            has checkpoints without a config that can be read.
        OSError: it cannot be made or written.
    """
    workdir = workdir_path(workdir)
    path = workdir / "config.json"
    new = json.loads(config.to_json())
    if fingerprints:
        new["fingerprints"] = fingerprints
    begun = bool(checkpoint_steps(workdir))
    if begun:
        _check_same(workdir, _config_of_checkpoints(path), new)
    if write:
        with writable(workdir):
            if not begun:
                write_json(path, new)
            with open(workdir / COMMANDS_FILE, "a") as file:
                file.write(this_command() + "\n")
    return workdir


def workdir_path(workdir):
    """The Path of a workdir.

    Raises:
        ValueError: it is a URL.
    """
    if "://" in str(workdir):
        raise UserError(
            f"workdir is {str(workdir)!r}; expected a folder. Mount the bucket (gcsfuse, s3fs) and "
            "give the folder."
        )
    return pathlib.Path(workdir).expanduser()


@contextlib.contextmanager
def writable(folder):
    """Around what is written in a run's folder: raises an OSError that says what to do."""
    try:
        yield
    except OSError as error:
        raise FileError(
            f"The workdir {folder} cannot be written ({error}). Choose another --workdir, or make "
            "it writable."
        ) from error


def checkpoint_steps(workdir):
    """The steps of the checkpoints there are, ascending."""
    files = pathlib.Path(workdir).glob("checkpoints/ckpt-*.index")
    found = (re.fullmatch(r"ckpt-(\d+)\.index", file.name) for file in files)
    return sorted(int(match[1]) for match in found if match)


def _config_of_checkpoints(path):
    try:
        return read_json(path)
    except FileNotFoundError:
        raise UserError(
            f"{path.parent} holds checkpoints, but no {path.name}, without which nobody knows what "
            f"they are of. {LOST}"
        ) from None
    except Damaged as damage:
        raise UserError(f"{damage.found} {LOST}") from damage


def _check_same(workdir, old, new):
    found = {name: (before, after) for name, before, after in differences(old, new)}
    before, after = found.pop(_PRECISION, (None, None))
    if found:
        lines = sorted(f"{name}: there {a!r}, here {b!r}" for name, (a, b) in found.items())
        listed = "\n  ".join(lines)
        raise UserError(
            f"{workdir} holds a run with another config:\n  {listed}\n"
            f"{_about_stylizer(found.get(_STYLIZER, (None,))[0])}"
            f"{_ABOUT_ORDER if _ORDER in found else ''}"
            "Continue it with the same config, or choose another --workdir."
        )
    if before != after and before != ABSENT:  # a run of before this was recorded says nothing
        say(
            f"{workdir} was begun with a stylizer in {before}; on this processor it is in {after}, "
            "and stylized views differ a little from here on. A run with "
            '--config.sassl.precision="float32" or "bfloat16" is the same on every processor.'
        )


def _about_stylizer(before):
    """A line about a stylizer that an earlier version of the package had, or nothing."""
    from sassl_tf.stylizers.compact import EARLIER_VERSIONS

    if before not in EARLIER_VERSIONS:
        return ""
    return f"The stylizer there is {EARLIER_VERSIONS[before]}, which this package no longer has.\n"


def differences(old, new, prefix=""):
    """(dotted name, value in old, value in new) of all fields in which two configs differ."""
    for key in old.keys() | new.keys():
        before, after = old.get(key, ABSENT), new.get(key, ABSENT)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}", before, after


def this_command():
    """The command line of this process, to be typed again."""
    return shlex.join(["python", *sys.orig_argv[1:]])
