"""The flags of the evaluations: those that all share, and those of each one's settings.

They are defined by a call, not by an import. So one process (the demo, a test) can import several
commands although each of them has a `--workdir`, for example.
"""

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from absl import flags

from evaluation.settings import EvaluationSettings
from evaluation.subject import EXTRACT_BATCH_SIZE, Subject, load_subject, result_workdir
from sassl_tf.checked import read_json
from sassl_tf.errors import UserError
from sassl_tf.representation.features import CROP_PROPORTION
from training.engine.workdir import CONFIG_FILE
from training.report.logs import say

SettingsT = TypeVar("SettingsT", bound=EvaluationSettings)

flags.disclaim_key_flags()  # they count as the command's own flags, which --help shows


def define_import_flag() -> None:
    """Defines --import_module, which every command that loads an encoder has."""
    flags.DEFINE_multi_string(
        "import_module",
        [],
        "A Python module to import before the encoder is loaded, such as one that registers layers "
        "of your own; may be given again.",
    )


def define_encoder_flags(frozen: bool = True) -> None:
    """Defines the flags about the encoder and the images that it sees.

    Args:
        frozen: whether features are extracted, which has a batch of its own.
    """
    flags.DEFINE_string(
        "encoder",
        None,
        "The encoder: a .keras file, a pretraining workdir, a preset or hf://owner/name.",
        required=True,
    )
    define_import_flag()
    flags.DEFINE_integer(
        "image_size",
        None,
        "The side of the images in pixels; by default the side that the encoder was made for, "
        "else 224.",
        lower_bound=1,
    )
    if frozen:
        flags.DEFINE_integer(
            "extract_batch_size",
            EXTRACT_BATCH_SIZE,
            "How many images go through the frozen encoder at a time. It changes memory and speed, "
            "not results.",
            lower_bound=1,
        )


def define_crop_flag() -> None:
    """Defines the flag about the crop that an encoder sees of an image."""
    flags.DEFINE_float(
        "crop_proportion",
        CROP_PROPORTION,
        "The share of the resized shorter side that the centre crop takes: 0.875 is usual for "
        "ImageNet, 1 for transfer.",
    )


def define_result_flags() -> None:
    """Defines the flags about prepared datasets and the folder of the results."""
    flags.DEFINE_string("data_dir", None, "The folder of prepared TFDS datasets.")
    flags.DEFINE_string(
        "workdir",
        None,
        "The folder for the results (JSON) and the features; by default the encoder's workdir.",
    )


def define_flags(settings_class: type[EvaluationSettings]) -> None:
    """Defines the flags of an evaluation on one dataset: the shared ones and those of its settings.

    Args:
        settings_class: a dataclass derived from `evaluation.settings.EvaluationSettings`.
    """
    define_encoder_flags()
    define_result_flags()
    flags.DEFINE_string(
        "dataset",
        None,
        "The labelled dataset: folder:PATH, records:PATTERN, tfds:NAME or shapes.",
        required=True,
    )
    define_crop_flag()
    define_settings_flags(settings_class)
    if "batch_size" not in _options(settings_class):
        flags.DEFINE_integer(
            "batch_size",
            None,
            "The old name of --extract_batch_size, for version 0.1 only.",
            lower_bound=1,
        )


def define_settings_flags(settings_class: type[EvaluationSettings]) -> None:
    """Defines the flags of the settings of an evaluation.

    Args:
        settings_class: a dataclass derived from `evaluation.settings.EvaluationSettings`.
    """
    for name, option in _options(settings_class).items():
        option["define"](name, **option["arguments"])


def subject_from_flags(settings_class: type[EvaluationSettings]) -> Subject:
    """Loads the `Subject` that the flags of `define_flags(settings_class)` name."""
    values = flags.FLAGS
    extract_batch_size = values.extract_batch_size
    if "batch_size" not in _options(settings_class) and values.batch_size is not None:
        say("--batch_size is called --extract_batch_size now; its old name goes with version 0.2.")
        extract_batch_size = values.batch_size
    return load_subject(
        values.encoder,
        values.dataset,
        data_dir=values.data_dir,
        workdir=values.workdir,
        image_size=values.image_size,
        crop_proportion=values.crop_proportion,
        extract_batch_size=extract_batch_size,
    )


def settings_from_flags(settings_class: type[SettingsT], **fields: Any) -> SettingsT:
    """Returns the settings that the flags of `define_flags(settings_class)` name.

    Args:
        settings_class: a dataclass derived from `evaluation.settings.EvaluationSettings`.
        **fields: the values of fields that have no flag.
    """
    for name, option in _options(settings_class).items():
        value = flags.FLAGS[name].value
        fields[name] = option["read"](value) if option["read"] else value
    return settings_class(**fields)


def evaluate_from_flags(
    settings_class: type[SettingsT],
    run: Callable[[Subject, SettingsT], dict[str, Any]],
    report: Callable[[dict[str, Any]], None],
) -> None:
    """Runs an evaluation as its flags say, prints its result and where the files lie.

    Args:
        settings_class: a dataclass derived from `evaluation.settings.EvaluationSettings`.
        run: the evaluation's function from a subject and settings to a result.
        report: the function that prints a result.
    """
    settings = settings_from_flags(settings_class)  # wrong ones are told before anything loads
    subject = subject_from_flags(settings_class)
    settings.check(subject.train, subject.validation)
    report(run(subject, settings))
    tell_next()


def tell_next(metric: str = "") -> None:
    """Prints where results lie and, for a pretraining's encoder, how to compare it with another.

    Args:
        metric: that of the report; "" for its default.
    """
    workdir = result_workdir(flags.FLAGS.encoder, flags.FLAGS.workdir)
    print(f"Results and features are in {workdir}.")
    config = workdir / CONFIG_FILE
    if config.exists() and "method" in read_json(config):
        where = shlex.quote(str(workdir))
        output = "--output=report" + f" --metric={metric}" * bool(metric)
        print(f"Next: python -m evaluation.report {output} {where} OTHER_WORKDIR")


def settings_from_arguments(settings_class: type, arguments: Sequence[str], **fields: Any) -> Any:
    """Returns the settings that the arguments of a command name, without that command's flags.

    Args:
        settings_class: a dataclass derived from `evaluation.settings.EvaluationSettings`.
        arguments: a list of "--name=value", each a field of the settings.
        **fields: the values of fields that the arguments do not name.

    Raises:
        UserError: an argument is no flag of these settings, or its value is not allowed.
    """
    values = flags.FlagValues()
    options = _options(settings_class)
    for name, option in options.items():
        option["define"](name, **option["arguments"], flag_values=values)
    try:
        more = values(["evaluation", *arguments])[1:]
    except flags.Error as error:
        known = ", ".join(f"--{name}" for name in options) or "none"
        raise UserError(f"{error}. The settings there are: {known}.") from None
    if more:
        raise UserError(f"{' '.join(more)} is no setting. Write settings as --name=value.")
    for name, option in options.items():
        if values[name].present:
            value = values[name].value
            fields[name] = option["read"](value) if option["read"] else value
    return settings_class(**fields)


def _options(settings_class):
    """Returns {name: what `option` was given} of the fields that are flags."""
    fields = dataclasses.fields(settings_class)
    return {field.name: field.metadata["flag"] for field in fields if "flag" in field.metadata}
