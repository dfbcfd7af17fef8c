"""The folder of a run, and the config that owns it."""

import json
import pathlib
import shlex
import sys

from sassl_tf.files import replacing
from training.logs import say

COMMANDS_FILE = "commands.txt"
ABSENT = "(absent)"
_PRECISION = "fingerprints.stylizer_precision"
_ORDER = "fingerprints.order"
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
        ValueError: the folder belongs to a run with another config; says what differs.
        OSError: it cannot be made or written.
    """
    if "://" in str(workdir):
        raise ValueError(
            f"workdir is {str(workdir)!r}; expected a folder. Mount the bucket (gcsfuse, s3fs) and "
            "give the folder."
        )
    workdir = pathlib.Path(workdir).expanduser()
    path = workdir / "config.json"
    new = json.loads(config.to_json())
    if fingerprints:
        new["fingerprints"] = fingerprints
    begun = path.exists() and any(workdir.glob("checkpoints/ckpt-*.index"))
    if begun:
        _check_same(workdir, json.loads(path.read_text()), new)
    if write:
        try:
            if not begun:
                with replacing(path) as beside:
                    beside.write_text(json.dumps(new, indent=2) + "\n")
            with open(workdir / COMMANDS_FILE, "a") as file:
                file.write(this_command() + "\n")
        except OSError as error:
            raise OSError(
                f"The workdir {workdir} cannot be written ({error}). Choose another --workdir, or "
                "make it writable."
            ) from error
    return workdir


def _check_same(workdir, old, new):
    found = {name: (before, after) for name, before, after in differences(old, new)}
    before, after = found.pop(_PRECISION, (None, None))
    if found:
        lines = sorted(f"{name}: there {a!r}, here {b!r}" for name, (a, b) in found.items())
        listed = "\n  ".join(lines)
        raise ValueError(
            f"{workdir} holds a run with another config:\n  {listed}\n"
            f"{_ABOUT_ORDER if _ORDER in found else ''}"
            "Continue it with the same config, or choose another --workdir."
        )
    if before != after and before != ABSENT:  # a run of before this was recorded says nothing
        say(
            f"{workdir} was begun with a stylizer in {before}; on this processor it is in {after}, "
            "and stylized views differ a little from here on. A run with "
            '--config.sassl.precision="float32" or "bfloat16" is the same on every processor.'
        )


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
