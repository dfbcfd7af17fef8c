"""The start and the end of every command: flags, errors for people, Ctrl-C."""

import atexit
import functools
import importlib
import os
import pathlib
import re
import sys
from collections.abc import Callable
from typing import NoReturn

import keras
from absl import app, flags, logging

from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from training.command.startup import INTERRUPTED, ctrl_c_raises, outlive_the_terminal
from training.config_checks.check import fields
from training.engine.preemption import Preempted
from training.methods import METHODS
from training.report.logs import say

ROOT = pathlib.Path(__file__).parents[2]


def run(
    main: Callable[[list[str]], None], continues: bool = False, positional: bool = False
) -> None:
    """Runs `main(arguments)` as absl's `app.run` does.

    A wrong flag or config field is answered with the nearest name. A `UserError`, or an error of
    the system that names a file, is shown as its message alone; any other error with its traceback
    (`--verbosity=1` shows that of all). Ctrl-C ends the process with a line. The process goes on
    when its terminal closes.

    Args:
        main: function of the arguments that are not flags; the first is the program's name.
        continues: whether the same command continues after an interruption.
        positional: whether the command takes arguments that are not flags.
    """
    outlive_the_terminal()
    try:
        app.run(functools.partial(_main, main, continues, positional), flags_parser=_parse)
    except SystemExit as ended:
        end(ended.code)


def end(code: str | int | None) -> NoReturn:
    """Ends the process as `sys.exit(code)` does, but without clearing away all objects.

    TensorFlow can take a minute to clear away an input pipeline: its autotuning sleeps for up to 60
    seconds, and a wake-up that comes while it looks at the clock is lost (tsl's CancellationManager
    calls its callbacks before it counts as cancelled). A cluster kills a job that takes too long.
    """
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _main(main, continues, positional, arguments):
    if arguments[1:] and not positional:
        say(f"Error: {' '.join(arguments[1:])} is not a flag. Write flags as --name=value.")
        sys.exit(1)
    if keras.backend.backend() != "tensorflow":
        say(
            f"Error: KERAS_BACKEND is {keras.backend.backend()}, and the commands run on "
            "TensorFlow. Unset it, or set KERAS_BACKEND=tensorflow."
        )
        sys.exit(1)
    verbosity = flags.FLAGS["verbosity"]
    logging.set_verbosity(verbosity.value if verbosity.present else logging.WARNING)
    # The networks here and their images are channels last, whatever keras.json says.
    keras.config.set_image_data_format("channels_last")
    try:
        ctrl_c_raises()
        _import_modules()
        main(arguments)
    except Preempted as stopped:
        say(f"\n{stopped} The same command continues.")
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        say("\nInterrupted." + (" The same command continues." if continues else ""))
        sys.exit(INTERRUPTED)
    except Exception as error:
        if flags.FLAGS.verbosity > 0 or not is_for_people(error):
            raise
        say(f"\nError: {error}")
        sys.exit(1)


def _import_modules():
    """Imports what --import_module names, in commands that have it."""
    for name in getattr(flags.FLAGS, "import_module", []):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise UserError(
                f"There is no module {error.name}, which --import_module={name} needs. Give the "
                "command in the folder that holds it, or install it."
            ) from None


def is_for_people(error: BaseException) -> bool:
    """Returns whether a person can put the error right, so that its message is enough."""
    names_a_file = isinstance(error, OSError) and error.filename is not None
    return isinstance(error, UserError) or names_a_file


def _parse(arguments):
    """Parses the flags; returns the other arguments, or ends the process with a message."""
    try:
        _check_config_file(arguments)
        positional = flags.FLAGS(arguments)
        _check_no_flag_is_empty()
        return positional
    except (flags.Error, AttributeError, LookupError, TypeError) as error:
        if not (message := _message(error, arguments)):
            raise
        say(f"Error: {message}\n--help lists the flags, with examples.")
        sys.exit(1)


def _check_no_flag_is_empty():
    """Raises a flags.Error if a flag is given an empty value, as from an unset shell variable.

    A flag whose default is empty may be empty, and so may the fields of a config.
    """
    given = [flag for flag in map(flags.FLAGS.__getitem__, flags.FLAGS) if flag.present]
    for flag in given:
        of_config = flag.name.startswith("config.")
        if not of_config and _is_empty(flag.value) and not _is_empty(flag.default):
            raise flags.Error(f"--{flag.name} has an empty value. Expected: {flag.help}")


def _is_empty(value):
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, list) and (not value or any(map(_is_empty, value)))


def _check_config_file(arguments):
    """Raises a flags.Error if --config names a file that does not exist."""
    path = pathlib.Path(_config_argument(arguments).partition(":")[0])
    if "config" not in flags.FLAGS or path == pathlib.Path() or path.is_file():
        return
    # From another folder than the checkout, the path from there.
    known = [os.path.relpath(ROOT / f"training/configs/{method}.py") for method in METHODS]
    raise flags.Error(
        f"There is no config file {path}.{nearest(str(path), known)} There are {', '.join(known)}."
    )


def _config_argument(arguments):
    """Returns the value of --config, or ''."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, given, value = argument.partition("=")
        if name in ("--config", "-config"):
            return value if given else following
    return ""


def _message(error, arguments):
    """Returns the message of a flag's error for people, or None if the error is a bug."""
    if user_error := _innermost_user_error(error):
        return str(user_error)
    if isinstance(error, flags.Error):
        return str(error)
    return _unknown_field(arguments)


def _innermost_user_error(error):
    """Returns the `UserError` of a config file; the flags library wraps it in errors of its own."""
    innermost = None
    while error is not None:
        if isinstance(error, UserError):
            innermost = error
        error = error.__cause__ or error.__context__
    return innermost


def _unknown_field(arguments):
    """Returns a message about the first --config.FIELD that the config lacks, or None."""
    for name in re.findall(r"(?:^|\s)--?(?:no)?config\.([\w.\[\]]+)", " ".join(arguments)):
        config = flags.FLAGS["config"].parser.parse(_config_argument(arguments))
        known = [field for field, _ in fields(config)]
        if name not in known:
            return f"The config has no field {name}.{nearest(name, known)}"
    return None
