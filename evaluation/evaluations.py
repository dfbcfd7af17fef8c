"""An evaluation is a protocol on a target; here are the protocols, and the loop over evaluations.

`evaluation.evaluate` takes evaluations as they are named, `evaluation.transfer` the product of
targets and protocols, and `evaluation.study` those of a study.
"""

import contextlib
import dataclasses
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from evaluation import (
    domains,
    few_shot,
    finetune,
    knn,
    linear_probe,
    robustness,
    sgd_probe,
    shape_bias,
)
from evaluation.encoders import default_image_size, load_encoder
from evaluation.flags import settings_from_arguments
from evaluation.results import earlier_result, result_name
from evaluation.settings import EvaluationSettings
from evaluation.subject import EXTRACT_BATCH_SIZE, Subject, load_subject, result_workdir
from evaluation.targets import Target
from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from sassl_tf.typing import PathLike
from training.report.logs import say

PROTOCOLS = (
    "linear_probe",
    "sgd_probe",
    "knn",
    "few_shot_1",
    "few_shot_10",
    "finetune",
    "finetune_0.1",
    "finetune_0.01",
)
# Those that need other images beside the target, or have a metric of their own.
OTHERS = {module.Settings.name: module for module in (shape_bias, robustness, domains)}
ALL = (*PROTOCOLS, *OTHERS)
WITHOUT_NUMBER = {
    **{module.Settings.name: module for module in (linear_probe, sgd_probe, knn, finetune)},
    **OTHERS,
}
# Errors that tell of data, files, memory or input. All others are mistakes in the code and go up.
DATA_ERRORS = (
    UserError,
    OSError,
    MemoryError,
    tf.errors.DataLossError,
    tf.errors.NotFoundError,
    tf.errors.ResourceExhaustedError,
)


def protocol_of(name: str, known: Sequence[str] = ALL) -> tuple[types.ModuleType, dict[str, Any]]:
    """Returns the module of a protocol, and the {field: value} of its settings that its name gives.

    Args:
        name: one of `ALL`; few_shot_N and finetune_SHARE with any number.
        known: those that an error lists.

    Raises:
        ValueError: an unknown protocol.
    """
    if name in WITHOUT_NUMBER:
        return WITHOUT_NUMBER[name], {}
    kind, _, number = name.rpartition("_")
    if kind == few_shot.Settings.name and number.isdigit():
        return few_shot, {"shots": int(number)}
    if kind == finetune.Settings.name and _is_share(number):
        return finetune, {"label_share": float(number)}
    raise UserError(
        f"There is no protocol {name!r}.{nearest(name, known)} There are {', '.join(known)}, and "
        "others like the numbered ones: few_shot_5, finetune_0.05."
    )


def _is_share(text):
    try:
        return 0 < float(text) < 1 and f"{float(text):g}" == text  # as results files are named
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """A protocol on a target, under a name.

    Attributes:
        name: the name that reports show.
        protocol: the protocol's name, such as "few_shot_10".
        run: the function (subject, settings) that does it.
        settings: its settings.
        target: the dataset, its preprocessing and its metrics.
        metric: the key of the result that counts.
        line: the text that it was read from, if it was.
    """

    name: str
    protocol: str
    run: Callable[[Subject, EvaluationSettings], dict[str, Any]]
    settings: EvaluationSettings
    target: Target
    metric: str
    line: str = ""

    @property
    def file(self) -> str:
        """The name of its results file."""
        return result_name(self.settings.evaluation, self.target.spec)

    def in_data_dir(self, data_dir: PathLike | None) -> EvaluationSettings:
        """Returns its settings, looking for TFDS datasets in `data_dir` if they look for any."""
        if not hasattr(self.settings, "data_dir"):
            return self.settings
        return dataclasses.replace(self.settings, **{"data_dir": data_dir})


def make_evaluation(
    name: str, protocol: str, target: Target, arguments: Sequence[str] = (), line: str = ""
) -> Evaluation:
    """Makes an evaluation.

    Args:
        name: the name that reports show.
        protocol: a name for `protocol_of`.
        target: the `Target`.
        arguments: settings of the protocol, as flags: ["--trials=1"].
        line: the text that it was read from.

    Raises:
        ValueError: an unknown protocol or setting.
    """
    module, named = protocol_of(protocol)
    fields = dict(named)
    if any(field.name == "metric" for field in dataclasses.fields(module.Settings)):
        fields["metric"] = target.metrics[0]
    settings = settings_from_arguments(module.Settings, arguments, **fields)
    for field, value in named.items():
        if getattr(settings, field) != value:
            raise UserError(
                f"{protocol} has {field} {value}, and --{field}={getattr(settings, field)} is "
                "given; expected one of them."
            )
    metric = module.METRIC if protocol in OTHERS else target.metrics[0]
    return Evaluation(name, protocol, module.run, settings, target, metric, line)


class Outcome(NamedTuple):
    """The outcome of an evaluation: its result, or why there is none.

    Attributes:
        evaluation: the `Evaluation`.
        result: the content of its results file; None if it failed.
        failure: why it failed; "" if it did not.
    """

    evaluation: Evaluation
    result: dict[str, Any] | None
    failure: str


def outcomes(
    encoder_path: PathLike,
    evaluations: Sequence[Evaluation],
    workdir: PathLike | None = None,
    data_dir: PathLike | None = None,
    image_size: int | None = None,
    extract_batch_size: int = EXTRACT_BATCH_SIZE,
) -> Iterator[Outcome]:
    """Does evaluations of an encoder, unless they are done already, and yields their `Outcome`s.

    The encoder and each dataset are loaded once. What fails does not stop the others.

    Args:
        encoder_path: a `.keras` file or a pretraining workdir.
        evaluations: a list of `Evaluation`.
        workdir: the folder for results and features; by default the encoder's own workdir.
        data_dir: the folder of prepared TFDS datasets.
        image_size: the side of the images; by default the side that the encoder was made for.
        extract_batch_size: how many images the encoder sees at a time.

    Raises:
        ValueError: no such encoder.
    """
    workdir = result_workdir(encoder_path, workdir)
    encoder = load_encoder(encoder_path)
    shared = {
        "data_dir": data_dir,
        "workdir": workdir,
        "image_size": image_size or default_image_size(encoder_path, encoder),
        "extract_batch_size": extract_batch_size,
        "encoder": encoder,
    }
    loaded: dict[tuple[str, float], Subject | Exception] = {}
    for number, one in enumerate(evaluations):
        images = _images_of(one)
        if images not in loaded:
            loaded[images] = _load(encoder_path, one.target, shared)
        yield _outcome(one, loaded[images], one.in_data_dir(data_dir))
        # Lists of images and features can be large.
        needed = {_images_of(later) for later in evaluations[number + 1 :]}
        loaded = {images: subject for images, subject in loaded.items() if images in needed}


def _images_of(evaluation):
    """Returns what tells the images of evaluations apart, and how they are prepared."""
    target = evaluation.target  # by its name, where it says itself that there are no images
    return target.spec or target.name, target.crop_proportion


def _load(encoder_path, target, shared):
    """Returns an encoder on the images of a target, a `Subject`, or the error of loading them."""
    try:
        with saying_by_hand(target):
            if not target.spec:
                raise UserError(f"There are no images of {target.name}.")
            return load_subject(
                encoder_path, target.spec, crop_proportion=target.crop_proportion, **shared
            )
    except DATA_ERRORS as error:
        return error


def _outcome(evaluation, subject, settings):
    """Returns the `Outcome` of an evaluation, which runs unless there is an earlier result."""
    try:
        if isinstance(subject, Exception):
            raise subject
        earlier = earlier_result(subject, settings)
        say(f"{evaluation.name}{': done before' if earlier else ''}")
        if not earlier:
            settings.check(subject.train, subject.validation)
        return Outcome(evaluation, earlier or evaluation.run(subject, settings), "")
    except DATA_ERRORS as error:
        say(f"{evaluation.name} failed: {error}")
        return Outcome(evaluation, None, str(error))


@contextlib.contextmanager
def saying_by_hand(target: Target) -> Iterator[None]:
    """Adds to an error of loading a target's images what a person has to do first, if anything."""
    try:
        yield
    except DATA_ERRORS as error:
        if not target.by_hand:
            raise
        raise UserError(f"{error} By hand: {target.by_hand}.") from error
