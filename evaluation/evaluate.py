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

from evaluation.evaluations import (
    DATA_ERRORS,
    OTHERS,
    Evaluation,
    make_evaluation,
    outcomes,
    saying_by_hand,
)
from evaluation.flags import define_encoder_flags, define_result_flags
from evaluation.subject import labelled_splits, result_workdir
from evaluation.targets import targets_of
from sassl_tf.checked import write_json
from sassl_tf.datasets import ImageDataset
from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike
from training.command import binary

EVALUATIONS_FILE = "evaluations.json"
SHAPE = "NAME=PROTOCOL on DATASET, such as linear=linear_probe on folder:pets --trials=1"


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
        return make_evaluation(name, protocol, targets[0], arguments, text)
    except ValueError as error:  # a UserError, or one of shlex about quotes
        raise UserError(f"The evaluation {name!r}: {error}") from None


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


def _check_one(
    evaluation: Evaluation, splits: Callable[[str], list[ImageDataset]], data_dir: str | None
) -> Data:
    settings = evaluation.in_data_dir(data_dir)
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
    **options: Any,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Does all evaluations of an encoder that are not done yet, and writes `evaluations.json`.

    Args:
        encoder_path: a `.keras` file or a pretraining workdir.
        evaluations: a list of `Evaluation`.
        workdir: the folder for results and features; by default the encoder's own workdir.
        **options: the other arguments of `evaluation.evaluations.outcomes`.

    Returns:
        ({name: result}, {name: why it failed}).

    Raises:
        UserError: no such encoder.
    """
    file = result_workdir(encoder_path, workdir) / EVALUATIONS_FILE
    results: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    for one, result, failure in outcomes(encoder_path, evaluations, workdir, **options):
        if result is None:
            failures[one.name] = failure
        else:
            results[one.name] = result
        write_json(file, {"results": results, "failures": failures})
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
