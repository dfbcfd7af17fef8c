"""How every binary starts and ends: flags with nearest names, errors for people, Ctrl-C."""

import functools
import pathlib
import re
import sys
import traceback

import keras
from absl import app, flags, logging

from sassl_tf.nearest import nearest
from training.command.startup import INTERRUPTED, ctrl_c_raises, outlive_the_terminal
from training.engine.config_checks import fields
from training.engine.preemption import Preempted
from training.report.logs import say

ROOT = pathlib.Path(__file__).parents[2]


def run(main, continues=False, positional=False):
    """Runs `main(arguments)` as absl's `app.run` does.

    A wrong flag or config field is answered with the nearest name. An error that this project
    raises is shown as its message alone, others with their traceback (`--verbosity=1`: all).
    Ctrl-C ends with a line. It goes on where nobody reads its output any more.

    Args:
        main: a function of the arguments that are no flags, the program's name first.
        continues: whether the same command goes on after an interruption.
        positional: whether it takes arguments that are no flags.
    """
    outlive_the_terminal()
    app.run(functools.partial(_main, main, continues, positional), flags_parser=_parse)


def _main(main, continues, positional, arguments):
    if arguments[1:] and not positional:
        say(f"Error: {' '.join(arguments[1:])} is no flag; flags are --name=value.")
        sys.exit(1)
    verbosity = flags.FLAGS["verbosity"]
    logging.set_verbosity(verbosity.value if verbosity.present else logging.WARNING)
    # Whatever keras.json says: the networks here and their images are channels last.
    keras.config.set_image_data_format("channels_last")
    try:
        ctrl_c_raises()
        main(arguments)
    except Preempted as stopped:
        say(f"\n{stopped} The same command continues.")
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        say("\nInterrupted." + (" The same command continues." if continues else ""))
        sys.exit(INTERRUPTED)
    except Exception as error:
        if flags.FLAGS.verbosity > 0 or not for_people(error):
            raise
        say(f"\nError: {error}")
        sys.exit(1)


def for_people(error):
    """Whether it is raised by a statement of ours, or tells of a file."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    ours = pathlib.Path(place.filename).is_relative_to(ROOT)
    installed = "site-packages" in place.filename
    deliberate = (place.line or "").startswith("raise")
    names_a_file = isinstance(error, OSError) and error.filename is not None
    return names_a_file or (ours and not installed and deliberate)


def _parse(arguments):
    try:
        _check_config_file(arguments)
        positional = flags.FLAGS(arguments)
        _check_not_empty()
        return positional
    except (flags.Error, AttributeError, LookupError, TypeError) as error:
        if not (explained := _explained(error, arguments)):
            raise
        say(f"Error: {explained}\n--help lists the flags, with examples.")
        sys.exit(1)


def _check_not_empty():
    """Raises a flags.Error where a flag is given nothing, as by a shell's variable that is not set.

    Those whose default is nothing may be given it, and so may fields of a config.
    """
    given = [flag for flag in map(flags.FLAGS.__getitem__, flags.FLAGS) if flag.present]
    for flag in given:
        of_config = flag.name.startswith("config.")
        if not of_config and _is_empty(flag.value) and not _is_empty(flag.default):
            raise flags.Error(f"--{flag.name} is given nothing. Expected: {flag.help}")


def _is_empty(value):
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, list) and (not value or any(map(_is_empty, value)))


def _check_config_file(arguments):
    """Raises a flags.Error where --config names a file that is not there."""
    path = pathlib.Path(_config_argument(arguments).partition(":")[0])
    if "config" not in flags.FLAGS or path == pathlib.Path() or path.is_file():
        return
    files = sorted((ROOT / "training" / "configs").glob("[a-z]*.py"))
    known = [str(file.relative_to(ROOT)) for file in files if file.name != "common.py"]
    raise flags.Error(
        f"There is no config file {path}.{nearest(str(path), known)} There are {', '.join(known)}."
    )


def _config_argument(arguments):
    """What --config is given, or ''."""
    given = re.search(r"(?:^| )--?config[= ](\S+)", " ".join(arguments))
    return given[1] if given else ""


def _explained(error, arguments):
    """The message of a flag's error for people, or None where only its traceback tells."""
    if not isinstance(error, flags.Error):
        for name in re.findall(r"(?:^|\s)--?(?:no)?config\.([\w.\[\]]+)", " ".join(arguments)):
            config = flags.FLAGS["config"].parser.parse(_config_argument(arguments))
            known = [field for field, _ in fields(config)]
            if name not in known:
                return f"The config has no field {name}.{nearest(name, known)}"
        return None
    # An error of a config file comes as the text of its traceback: short, where it is our own.
    text = str(error)
    places = re.findall(r'File "(.+?)", line', text)
    ours = bool(places) and pathlib.Path(places[-1]) == ROOT / "training" / "configs" / "common.py"
    return text.rpartition("Error: ")[2].strip() if ours else text
