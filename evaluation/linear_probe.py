"""Linear probe: multinomial logistic regression on the frozen features of an encoder.

    python -m evaluation.linear_probe --encoder=runs/simclr --dataset=shapes

The protocol is that of SimCLR's appendix (arXiv 2002.05709, after Kornblith et al. 2019) and of
linusericsson/ssl-transfer: L-BFGS, 45 values of L2 from 1e-6 to 1e5, the best on a validation
split, then one more fit on train and validation data together. The validation split is the
dataset's own if it has one. Otherwise it is 20 % of each class of the train data (ssl-transfer
takes 20 % of all images); then five trials draw it anew, and the result is their mean and standard
deviation. `evaluation.logistic_regression` has the objective.

Results go to `linear_probe-DATASET-HASH.json` in the workdir.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from tqdm.auto import tqdm

from evaluation.flags import define_flags, evaluate_from_flags
from evaluation.logistic_regression import (
    LinearClassifier,
    fit_logistic_regression,
    regularization_path,
)
from evaluation.results import METRICS, accuracies, over_trials, with_spread, write_result
from evaluation.settings import EvaluationSettings, option
from evaluation.subject import Subject
from sassl_tf.datasets import ImageDataset
from sassl_tf.errors import UserError
from training.command import binary

VALIDATION_SHARE = 0.2


def l2_sweep(count: int = 45) -> list[float]:
    """Returns `count` values of L2 from 1e-6 to 1e5, evenly spaced in their logarithm."""
    return np.logspace(-6, 5, count).tolist()


L2_VALUES = tuple(l2_sweep())


@dataclasses.dataclass(frozen=True)
class Settings(EvaluationSettings):
    """The settings of the linear probe.

    Attributes:
        l2_values: the values of L2 to choose from.
        trials: how many times the validation split is drawn, from the seeds 0, 1, ...; it is drawn
            once where the dataset has its own or where there is nothing to choose, since then
            nothing is random.
        metric: the metric that L2 is chosen by, one of `METRICS`.
    """

    name = "linear_probe"
    l2_values: tuple[float, ...] = option(
        flags.DEFINE_integer,
        L2_VALUES,
        "How many values of L2 from 1e-6 to 1e5 to try.",
        shown=len(L2_VALUES),
        read=l2_sweep,
        lower_bound=2,
    )
    trials: int = option(
        flags.DEFINE_integer, 5, "How many times the validation split is drawn.", lower_bound=1
    )
    metric: str = option(
        flags.DEFINE_enum, "accuracy", "The metric that L2 is chosen by.", enum_values=METRICS
    )

    def check(self, train: ImageDataset, validation: ImageDataset | None = None) -> None:
        if len(self.l2_values) > 1:
            check_choice(train, validation)


def check_choice(train: ImageDataset, validation: ImageDataset | None) -> None:
    """Raises a UserError if there are no images to choose L2 by."""
    if validation is None:
        stratified_split(train.labels, VALIDATION_SHARE, seed=0)


@dataclasses.dataclass(frozen=True)
class LinearProbeResult:
    """The outcome of a linear probe.

    Attributes:
        accuracy: on the test split, in [0, 1].
        mean_per_class_accuracy: on the test split, in [0, 1].
        quadratic_kappa: on the test split; meant for classes that are grades.
        l2: the value that was chosen.
        sweep: (L2, validation score), from strong to weak; empty if there was nothing to choose.
        unconverged: how many of the fits stopped before the optimum.
    """

    accuracy: float
    mean_per_class_accuracy: float
    quadratic_kappa: float
    l2: float
    sweep: list[tuple[float, float]]
    unconverged: int


def select_l2(
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    l2_values: Sequence[float],
    metric: str = "accuracy",
) -> tuple[float, list[tuple[float, float]], int]:
    """Chooses L2 on validation data; it never sees test data.

    Args:
        features: [N, D], train and validation data only.
        labels: int [N].
        train: the indices of the data to fit.
        validation: the indices of the data to choose by.
        l2_values: positive numbers.
        metric: one of `METRICS`.

    Returns:
        The best L2 (the strongest, if several are equally good), the sweep [(l2, score)] and the
        number of fits that did not converge.
    """
    sweep, unconverged = [], 0
    path = regularization_path(features[train], labels[train], l2_values)
    for l2, classifier in tqdm(path, desc="Choosing L2", total=len(l2_values), disable=None):
        predictions = classifier.predict(features[validation])
        sweep.append((l2, accuracies(labels[validation], predictions)[metric]))
        unconverged += not classifier.converged
    best, _ = max(sweep, key=lambda pair: pair[1])  # max keeps the first of equals
    return best, sweep, unconverged


def stratified_split(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits indices into two sorted arrays; the second gets `share` of every class, at least one.

    A class of one image is no error, as it is in scikit-learn: the image goes to the first array.

    Args:
        labels: int [N].
        share: in (0, 1).
        seed: a seed of `numpy.random.default_rng`.

    Raises:
        ValueError: no class has two images.
    """
    rng = np.random.default_rng(seed)
    second: list[int] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        second.extend(members[:count])
    if not second:
        raise UserError(
            "There is one train image per class, so none is left to choose by; give a validation "
            "split, more images, or, for a fine-tuning, one learning rate and one weight decay."
        )
    return np.setdiff1d(np.arange(len(labels)), second), np.sort(second)


def linear_probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    l2_values: Sequence[float] = L2_VALUES,
    seed: int = 0,
    metric: str = "accuracy",
    validation: tuple[np.ndarray, np.ndarray] | None = None,
) -> LinearProbeResult:
    """Trains a linear classifier on features and tests it.

    Args:
        train_features: float [N, D].
        train_labels: int [N].
        test_features: float [M, D].
        test_labels: int [M].
        l2_values: the values of L2 to choose from.
        seed: the seed of the draw of the validation split; nothing else is random.
        metric: the metric that L2 is chosen by, one of `METRICS`.
        validation: (features [V, D], labels [V]) to choose L2 by, on which the last fit is trained
            too; None: a fifth of each class of the train data is used.

    Returns:
        LinearProbeResult.

    Raises:
        ValueError: arrays of different lengths, one class only, no class of two images to choose
            L2 by, an L2 that is not positive, or an unknown metric.
    """
    _check(train_features, train_labels, l2_values, metric)
    _check_lengths("test", test_features, test_labels)
    features, labels = train_features, train_labels
    if validation is not None:
        _check_lengths("validation", *validation)
        features = np.concatenate([train_features, validation[0]])
        labels = np.concatenate([train_labels, validation[1]])
    sweep: list[tuple[float, float]] = []
    l2, unconverged = l2_values[0], 0
    if len(l2_values) > 1:
        fitted, held_out = _fitted_and_held_out(train_labels, validation, seed)
        l2, sweep, unconverged = select_l2(features, labels, fitted, held_out, l2_values, metric)
    classifier = fit_logistic_regression(features, labels, l2)
    return LinearProbeResult(
        **accuracies(test_labels, classifier.predict(test_features)),
        l2=float(l2),
        sweep=sweep,
        unconverged=unconverged + (not classifier.converged),
    )


def _fitted_and_held_out(train_labels, validation, seed):
    """Returns the indices to fit and to choose L2 by, into train and validation data together."""
    if validation is None:
        return stratified_split(train_labels, VALIDATION_SHARE, seed)
    count = len(train_labels) + len(validation[1])
    return np.split(np.arange(count), [len(train_labels)])


def run(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Runs the linear probe and writes the result.

    Args:
        subject: the `Subject` to evaluate.
        settings: `Settings`.

    Returns:
        The content of the results file, a dict: the means over the trials, for each
        metric "std" and "values", and for each trial "l2" and "sweep".
    """
    validation = None
    if subject.validation is not None and subject.validation_features is not None:
        validation = subject.validation_features, subject.validation.labels
    one_trial = validation is not None or len(settings.l2_values) == 1
    probes = [
        linear_probe(
            subject.train_features,
            subject.train.labels,
            subject.test_features,
            subject.test.labels,
            l2_values=settings.l2_values,
            seed=seed,
            metric=settings.metric,
            validation=validation,
        )
        for seed in range(1 if one_trial else settings.trials)
    ]
    outcome = {
        **over_trials([{metric: getattr(probe, metric) for metric in METRICS} for probe in probes]),
        "l2": [probe.l2 for probe in probes],
        "sweep": [probe.sweep for probe in probes],
        "unconverged": sum(probe.unconverged for probe in probes),
    }
    return write_result(subject, settings, outcome)


def probe_of(subject: Subject) -> tuple[LinearClassifier, float]:
    """Trains a linear probe on the train split, for images that are not the test split.

    L2 is chosen on the dataset's own validation split, on which the probe is then trained too, else
    on 20 % of each class of the train split, drawn once.

    Args:
        subject: the `Subject`, with labels 0 ... C - 1.

    Returns:
        The probe and its L2.
    """
    features, labels = subject.train_features, subject.train.labels
    validation = None
    if subject.validation is not None:
        validation = subject.validation_features, subject.validation.labels
    fitted, held_out = _fitted_and_held_out(labels, validation, seed=0)
    if validation is not None:
        features = np.concatenate([features, validation[0]])
        labels = np.concatenate([labels, validation[1]])
    l2, _, _ = select_l2(features, labels, fitted, held_out, L2_VALUES)
    return fit_logistic_regression(features, labels, l2), l2


def _check(features, labels, l2_values, metric):
    _check_lengths("train", features, labels)
    if len(np.unique(labels)) < 2:
        raise UserError(
            "The train data has fewer than two classes; a linear probe needs two or more."
        )
    if not len(l2_values) or not all(0 < l2 < np.inf for l2 in l2_values):
        raise UserError(f"The values of L2 are {list(l2_values)}; give positive numbers.")
    if metric not in METRICS:
        raise UserError(f"The metric is {metric!r}; give one of {', '.join(METRICS)}.")


def _check_lengths(split, features, labels):
    if features.ndim != 2 or features.shape[0] != len(labels):
        raise UserError(
            f"The {split} features are {list(features.shape)} and there are {len(labels)} labels; "
            "give features [N, D] and N labels."
        )


def _report(result):
    chosen = ", ".join(f"{l2:.3g}" for l2 in result["l2"])
    print(
        f"Linear probe on {result['dataset']}: accuracy {with_spread(result)}, "
        f"mean per class {result['mean_per_class_accuracy']:.2%}\n"
        f"  L2 {chosen}, chosen from {len(result['sweep'][0]) or 1} by "
        f"{result['settings']['metric']} "
        f"on {_held_out(result)}; {result['test_images']} test images"
    )
    if result["unconverged"]:
        print(f"  fits that stopped before the optimum: {result['unconverged']}")


def _held_out(result):
    if result["validation_images"]:
        return f"{result['validation_images']} validation images"
    return f"20 % of {result['train_images']} train images"


def main(_: list[str]) -> None:
    evaluate_from_flags(Settings, run, _report)


if __name__ == "__main__":
    define_flags(Settings)
    binary.run(main)
