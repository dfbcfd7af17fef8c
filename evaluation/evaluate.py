r"""Evaluates an encoder by a list of named evaluations; continues after a break.

    python -m evaluation.evaluate --encoder=runs/simclr \
        --evaluation="linear=linear_probe on folder:pets --trials=1" \
        --evaluation="Caltech-101=few_shot_1 on caltech101=folder:caltech"

Each is `NAME=PROTOCOL on DATASET`, with settings of the protocol after it. The protocols are those
of `evaluation.transfer`, and robustness, domains and shape_bias. The dataset is a target of
`evaluation.targets`, a spec such as `folder:PATH`, or TARGET=SPEC for the metric and the
preprocessing of a target. `evaluation.study` evaluates its runs so.

Every result is the file that the protocol's own command writes; `evaluations.json` in the workdir
has them all by their names. The encoder and each dataset are loaded once. A finished evaluation is
not done again. One that fails is told at the end, and the others go on.
"""

import dataclasses
import functools
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from evaluation import domains, robustness, shape_bias
from evaluation.encoders import default_image_size, load_encoder
from evaluation.flags import (
    define_encoder_flags,
    define_result_flags,
    settings_from_arguments,
)
from evaluation.results import earlier_result, result_name
from evaluation.settings import EvaluationSettings
from evaluation.subject import (
    EXTRACT_BATCH_SIZE,
    Subject,
    labelled_splits,
    result_workdir,
)
from evaluation.targets import Target, targets_of
from evaluation.transfer import (
    DATA_ERRORS,
    PROTOCOLS,
    load_target,
    protocol_of,
    saying_by_hand,
)
from sassl_tf.checked import write_json
from sassl_tf.datasets import ImageDataset
from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from sassl_tf.typing import PathLike
from training.command import binary
from training.report.logs import say

EVALUATIONS_FILE = "evaluations.json"
# Protocols that `evaluation.transfer` does not have.
OTHERS = {module.Settings.name: module for module in (shape_bias, robustness, domains)}
SHAPE = "NAME=PROTOCOL on DATASET, such as linear=linear_probe on folder:pets --trials=1"


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """A protocol on a dataset, under a name.

    Attributes:
        name: the name that reports show.
        protocol: the protocol's name, such as "few_shot_10".
        run: the function (subject, settings) that does it.
        settings: its settings.
        target: the dataset, its preprocessing and its metrics.
        metric: the key of the result that counts.
        line: the text that it was read from.
    """

    name: str
    protocol: str
    run: Callable[[Subject, EvaluationSettings], dict[str, Any]]
    settings: EvaluationSettings
    target: Target
    metric: str
    line: str

    @property
    def file(self) -> str:
        """The name of its results file."""
        return result_name(self.settings.evaluation, self.target.spec)


def parse_evaluation(text: str) -> Evaluation:
    """Reads `NAME=PROTOCOL on DATASET --setting=value`.

    Raises:
        UserError: it has another form, or there is no such protocol, target or setting.
    """
    name, named, rest = text.partition("=")
    protocol, on, rest = rest.partition(" on ")
    dataset, *arguments = rest.split(" --")
    name, protocol, dataset = name.strip(), protocol.strip(), dataset.strip()
    if not (named and on and name and protocol and dataset):
        raise UserError(f"The evaluation {text!r} has another form than {SHAPE}.")
    try:
        arguments = [part for a in arguments for part in shlex.split(f"--{a}")]
        targets = targets_of([dataset])
        if len(targets) != 1 or not targets[0].spec:
            raise UserError(f"{dataset!r} names no images; give TARGET=SPEC or a spec.")
        return _evaluation(text, name, protocol, targets[0], arguments)
    except ValueError as error:  # a UserError, or one of shlex about quotes
        raise UserError(f"The evaluation {name!r}: {error}") from None


def _evaluation(
    line: str, name: str, protocol: str, target: Target, arguments: Sequence[str]
) -> Evaluation:
    if protocol in OTHERS:
        module = OTHERS[protocol]
        settings = settings_from_arguments(module.Settings, arguments)
        return Evaluation(name, protocol, module.run, settings, target, module.METRIC, line)
    if protocol.rpartition("_")[0] not in ("few_shot", "finetune"):
        known = (*PROTOCOLS, *OTHERS)
        if protocol not in known:
            raise UserError(
                f"There is no protocol {protocol!r}.{nearest(protocol, known)} There are "
                f"{', '.join(known)}."
            )
    run, defaults = protocol_of(protocol)
    fields = {f.name: getattr(defaults, f.name) for f in dataclasses.fields(defaults)}
    if "metric" in fields:
        fields["metric"] = target.metrics[0]
    settings = settings_from_arguments(type(defaults), arguments, **fields)
    return Evaluation(name, protocol, run, settings, target, target.metrics[0], line)


def parse_evaluations(texts: Sequence[str]) -> list[Evaluation]:
    """Reads several evaluations.

    Raises:
        UserError: one cannot be read, two have one name, or two would write one results file.
    """
    evaluations = [parse_evaluation(text) for text in texts]
    by_name: dict[str, Evaluation] = {}
    by_file: dict[str, Evaluation] = {}
    for evaluation in evaluations:
        if evaluation.name in by_name:
            raise UserError(f"Two evaluations have the name {evaluation.name!r}; rename one.")
        other = by_file.setdefault(evaluation.file, evaluation)
        if other is not evaluation:
            raise UserError(
                f"The evaluations {other.name!r} and {evaluation.name!r} are the same protocol on "
                "the same dataset, and would write the same file; leave one out."
            )
        by_name[evaluation.name] = evaluation
    return evaluations


@dataclasses.dataclass(frozen=True)
class Data:
    """Facts about an evaluation's images, known before it runs.

    Attributes:
        listings: {split: its `ImageDataset.listing`}, with the listings of the images that its
            settings name beside the dataset.
        constant: the metric, in [0, 1], of a classifier that gives all test images one answer, that
            of the largest class; None for other metrics and tests on other images.
    """

    listings: Mapping[str, str]
    constant: float | None


def check_data(evaluations: Sequence[Evaluation], data_dir: str | None = None) -> dict[str, Data]:
    """Loads the lists of all images, so that what is missing is told at once.

    Returns:
        {name of an evaluation: its `Data`}.

    Raises:
        UserError: images are missing, or the settings do not fit them; names the evaluation.
    """
    splits = functools.cache(lambda spec: labelled_splits(spec, data_dir))
    return {e.name: _check_one(e, splits, data_dir) for e in evaluations}


def _with_data_dir(settings: EvaluationSettings, data_dir: str | None) -> EvaluationSettings:
    """Returns settings that look for TFDS datasets in `data_dir`, where they look for any."""
    if not hasattr(settings, "data_dir"):
        return settings
    return dataclasses.replace(settings, **{"data_dir": data_dir})


def _check_one(
    evaluation: Evaluation, splits: Callable[[str], list[ImageDataset]], data_dir: str | None
) -> Data:
    settings = _with_data_dir(evaluation.settings, data_dir)
    try:
        with saying_by_hand(evaluation.target):
            train, test, *others = splits(evaluation.target.spec)
        settings.check(train, *others)
        listings = {split.split: split.listing for split in (train, test, *others)}
        return Data({**listings, **settings.listings()}, _constant(evaluation, test))
    except DATA_ERRORS as error:
        raise UserError(f"The evaluation {evaluation.name!r}: {error}") from error


def _constant(evaluation: Evaluation, test: ImageDataset) -> float | None:
    """Returns the metric of one answer for all test images, as `Data` has it."""
    _, counts = np.unique(test.labels, return_counts=True)
    known = {"accuracy": counts.max() / counts.sum(), "mean_per_class_accuracy": 1 / len(counts)}
    return None if evaluation.protocol in OTHERS else known.get(evaluation.metric)


def evaluate(
    encoder_path: PathLike,
    evaluations: Sequence[Evaluation],
    workdir: PathLike | None = None,
    data_dir: str | None = None,
    image_size: int | None = None,
    extract_batch_size: int = EXTRACT_BATCH_SIZE,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Does all evaluations of an encoder that are not done yet, and writes `evaluations.json`.

    Args:
        encoder_path: a `.keras` file or a pretraining workdir.
        evaluations: a list of `Evaluation`.
        workdir: the folder for results and features; by default the encoder's own workdir.
        data_dir: the folder of prepared TFDS datasets.
        image_size: the side of the images; by default the side that the encoder was made for.
        extract_batch_size: how many images the encoder sees at a time.

    Returns:
        ({name: result}, {name: why it failed}).

    Raises:
        UserError: no such encoder.
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
    subjects: dict[tuple[str, float], Subject] = {}
    results: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    for evaluation in evaluations:
        target, settings = evaluation.target, _with_data_dir(evaluation.settings, data_dir)
        try:
            subject = subjects.get((target.spec, target.crop_proportion)) or load_target(
                encoder_path, target, shared
            )
            subjects[target.spec, target.crop_proportion] = subject
            earlier = earlier_result(subject, settings)
            say(f"{evaluation.name}{': done before' if earlier else ''}")
            results[evaluation.name] = earlier or evaluation.run(subject, settings)
        except DATA_ERRORS as error:
            failures[evaluation.name] = str(error)
            say(f"{evaluation.name} failed: {error}")
        found = {"results": results, "failures": failures}
        write_json(workdir / EVALUATIONS_FILE, found)
    return results, failures


def _report(evaluations, results):
    for evaluation in evaluations:
        if evaluation.name in results:
            value = results[evaluation.name][evaluation.metric]
            shown = "none" if value is None else f"{100 * value:.2f}"
            metric = evaluation.metric.replace("_", " ")
            print(f"{evaluation.name}: {metric} {shown} %")


def main(_: list[str]) -> None:
    values = flags.FLAGS
    evaluations = parse_evaluations(values.evaluation)
    results, failures = evaluate(
        values.encoder,
        evaluations,
        workdir=values.workdir,
        data_dir=values.data_dir,
        image_size=values.image_size,
        extract_batch_size=values.extract_batch_size,
    )
    _report(evaluations, results)
    if failures:
        print(f"\n{len(failures)} failed; the same command tries them again:")
        for name, why in failures.items():
            print(f"  {name}: {why}")
        raise SystemExit(1)


if __name__ == "__main__":
    define_encoder_flags()
    define_result_flags()
    flags.DEFINE_multi_string(
        "evaluation", None, f"An evaluation, {SHAPE}; may be given again.", required=True
    )
    binary.run(main, continues=True)
