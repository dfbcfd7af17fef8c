"""Results of evaluations: accuracies, statistics of trials, and the JSON file of each result."""

from __future__ import annotations

import importlib.metadata
import pathlib
import platform
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import accuracy_score, recall_score

from sassl_tf.checked import cached, read_json, write_json
from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.paths import as_path
from sassl_tf.typing import PathLike
from training.engine.workdir import this_command

if TYPE_CHECKING:
    from evaluation.settings import EvaluationSettings
    from evaluation.subject import Subject

METRICS = ("accuracy", "mean_per_class_accuracy", "quadratic_kappa")
# Those of detection and segmentation, and the names that people know them by.
DENSE_METRICS = {
    "ap50": "AP50",
    "ap75": "AP75",
    "ap": "AP",
    "miou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
}
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")
# The revision of each evaluation; others have 1. Raise it whenever the evaluation's numbers change:
# results of another revision are neither taken for done nor compared. robustness, domains and
# shape_bias train a linear probe: raise theirs with its own.
REVISIONS = {
    "linear_probe": 2,
    "few_shot": 2,
    "shape_bias": 2,
    "sgd_probe": 3,
    "finetune": 3,
    "robustness": 2,
    "detect": 3,
    "segment": 2,
}
# The facts about a subject that must be equal for a result to count as done.
IDENTITY = (
    "encoder_fingerprint",
    "image_size",
    "crop_proportion",
    "preparation",
    "dataset_fingerprints",
)


def accuracies(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Returns {"accuracy", "mean_per_class_accuracy"} in [0, 1], and "quadratic_kappa", at most 1.

    The mean is over the classes that occur in `labels`, as in the transfer protocols for
    Caltech-101, Flowers-102 and Pets. Quadratically weighted kappa is meant for classes that are
    grades in their order, as in Diabetic Retinopathy; chance has 0.

    Args:
        labels: int [N].
        predictions: int [N].
    """
    return {
        "accuracy": float(accuracy_score(labels, predictions)),
        "mean_per_class_accuracy": float(
            recall_score(labels, predictions, labels=np.unique(labels), average="macro")
        ),
        "quadratic_kappa": _quadratic_kappa(labels, predictions),
    }


def over_trials(trials: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Computes the mean, the standard deviation and the values of several trials.

    Args:
        trials: a list of {metric: value}, as `accuracies` returns them.

    Returns:
        The mean of each metric by its name, {"std": {metric: sample standard deviation, None for
        one trial}, "values": {metric: list}, "trials": how many}.
    """
    values = {metric: [trial[metric] for trial in trials] for metric in trials[0]}
    spread = {m: float(np.std(v, ddof=1)) if len(v) > 1 else None for m, v in values.items()}
    means = {metric: float(np.mean(v)) for metric, v in values.items()}
    return {**means, "std": spread, "values": values, "trials": len(trials)}


def with_spread(result: Mapping[str, Any], metric: str = "accuracy") -> str:
    """Returns a metric of a result of one or several trials as text, such as "81.25% ± 0.40%"."""
    spread = (result.get("std") or {}).get(metric)
    return f"{result[metric]:.2%}" + (f" ± {spread:.2%}" if spread is not None else "")


def dense_metrics(result: Mapping[str, Any]) -> list[str]:
    """Returns the `DENSE_METRICS` that a result has as texts, such as "AP50 8.83% ± 0.25%"."""
    present = (item for item in DENSE_METRICS.items() if item[0] in result)
    return [f"{name} {with_spread(result, metric)}" for metric, name in present]


def revision_of(evaluation: str) -> int:
    """Returns the revision of an evaluation, such as "few_shot_10"."""
    return next((r for name, r in REVISIONS.items() if evaluation.startswith(name)), 1)


def write_result(
    subject: Subject, settings: EvaluationSettings, outcome: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes `EVALUATION-DATASET-HASH.json` into the subject's workdir.

    Args:
        subject: the `Subject` that was evaluated.
        settings: the `EvaluationSettings`.
        outcome: a dict of the evaluation's numbers.

    Returns:
        The content of the file, a dict.
    """
    result = {
        "evaluation": settings.evaluation,
        "revision": revision_of(settings.evaluation),
        **outcome,
        "settings": settings.recorded(subject),
        **subject.facts,
        "command": this_command(),
        "versions": versions(),
    }
    write_json(_file(subject, settings), result)
    return result


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that numbers may depend on."""
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages}


def earlier_result(subject: Subject, settings: EvaluationSettings) -> dict[str, Any] | None:
    """Reads the result of an evaluation that was done before.

    Args:
        subject: the `Subject` to evaluate.
        settings: the `EvaluationSettings`.

    Returns:
        The content of the results file; None if there is none, or if it is of another encoder,
        other images, another preparation, other settings or another revision.
    """
    expected = {name: subject.facts[name] for name in IDENTITY}
    expected["settings"] = settings.recorded(subject)
    expected["revision"] = revision_of(settings.evaluation)
    return matching_result(_file(subject, settings), expected)


def matching_result(file: pathlib.Path, expected: Mapping[str, Any]) -> dict[str, Any] | None:
    """Reads a results file.

    Args:
        file: its path.
        expected: {key: value} that it must have.

    Returns:
        Its content; None if there is no such file, if it has other values, or if it is damaged,
        which gives a warning.
    """
    result = cached(read_json, file)
    if result is None:
        return None
    values = {"revision": 1, **result}  # older files name none; theirs is the first
    return result if all(values.get(key) == value for key, value in expected.items()) else None


def _up_to_date(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a results file as it would be written now."""
    if result.get("evaluation") != "sgd_probe" or "settings" not in result:
        return dict(result)
    # Earlier files have the number of images that the encoder sees at a time, which is no setting.
    settings = {k: v for k, v in result["settings"].items() if k != "batch_size"}
    return {**result, "settings": settings}


def read_results(workdir: PathLike) -> list[dict[str, Any]]:
    """Returns the contents of all results files in a workdir, in the order of their names.

    Raises:
        Damaged: a ValueError; a file is damaged.
    """
    # A hidden file was being written.
    files = sorted(as_path(workdir).glob("[!.]*-*.json"), key=str)
    contents = map(read_json, files)
    return [_up_to_date(content) for content in contents if "evaluation" in content]


def result_name(evaluation: str, dataset: str) -> str:
    """Returns the name of a results file: "knn", "shapes" gives "knn-shapes-36eb60.json"."""
    readable = re.sub(r"\W+", "-", dataset).strip("-").encode()
    # File systems take names of up to 255 bytes. The digits tell apart what reads the same.
    shown = readable[-150:].decode(errors="ignore")
    return f"{evaluation}-{shown}-{fingerprint_of(dataset)[:6]}.json"


def _file(subject, settings):
    return subject.workdir / result_name(settings.evaluation, subject.dataset)


def _quadratic_kappa(labels, predictions):
    # By moments: scikit-learn's table of all pairs of classes takes gigabytes for 10,000 classes.
    if not np.issubdtype(np.asarray(labels).dtype, np.integer):  # names: grades in sorted order
        both = np.unique(np.concatenate([labels, predictions]), return_inverse=True)[1]
        labels, predictions = np.split(both, [len(labels)])
    a, b = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    by_chance = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    if not by_chance:
        return 0.0  # one class alone: there is no disagreement to compare with
    return float(1 - np.mean((a - b) ** 2) / by_chance)
