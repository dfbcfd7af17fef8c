"""Few-shot classification: logistic regression on the frozen features of n images of each class.

    python -m evaluation.few_shot --encoder=runs/simclr --dataset=shapes --shots=1,10

One and ten shots are the paper's (arXiv 2312.01187); how to classify so few follows the low-shot
protocol of MSN (Assran et al. 2022, arXiv 2204.07141; facebookresearch/msn, logistic_eval.py):
every feature vector is centred and brought to unit length by itself, and the objective, without
an intercept, is

    sum_i cross_entropy(x_i W, y_i) + L2/2 |W|^2,        L2 = 0.00025, fixed.

For two classes scikit-learn's one vector is penalised as by twice that L2.

Nothing is chosen, so that no image but the n of each class is needed. Each trial draws others; the
result is the mean over trials. Results go to `few_shot_N-DATASET-HASH.json` in the workdir.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from sklearn.linear_model import LogisticRegression

from evaluation.flags import define_flags, settings_from_flags, subject_from_flags, tell_next
from evaluation.logistic_regression import MAX_ITERATIONS, fit
from evaluation.results import accuracies, over_trials, with_spread, write_result
from evaluation.settings import EvaluationSettings, numbers, option
from evaluation.subject import Subject
from sassl_tf.datasets import ImageDataset
from sassl_tf.errors import UserError
from training.command import binary

L2 = 0.00025


@dataclasses.dataclass(frozen=True)
class Settings(EvaluationSettings):
    """The settings of the few-shot evaluation.

    Attributes:
        shots: how many train images of each class.
        trials: how many draws of them, from the seeds 0, 1, ...
    """

    name = "few_shot"
    shots: int = 1
    trials: int = option(
        flags.DEFINE_integer, 5, "How many times the train images are drawn.", lower_bound=1
    )

    def check(self, train: ImageDataset, validation: ImageDataset | None = None) -> None:
        draw_shots(train.labels, self.shots, 0, train.class_names)

    @property
    def evaluation(self) -> str:
        return f"{self.name}_{self.shots}"


def draw_shots(
    labels: np.ndarray, shots: int, seed: int, class_names: Sequence[str] | None = None
) -> np.ndarray:
    """Draws `shots` images of each class at random.

    With one seed, a draw of more shots contains the draw of fewer.

    Args:
        labels: int [N].
        shots: how many images of each class, 1 or more.
        seed: a seed of `numpy.random.default_rng`.
        class_names: the names of the classes, for the error message.

    Returns:
        The indices [C * shots] of the images, in the order of the classes.

    Raises:
        ValueError: a class has fewer images, or `shots` is below 1.
    """
    if shots < 1:
        raise UserError(f"shots is {shots}; expected 1 or more.")
    rng = np.random.default_rng(seed)
    drawn = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < shots:
            name = class_names[label] if class_names else label
            raise UserError(
                f"Class {name} has {len(members)} train images, and {shots} shots were asked for. "
                "Ask for fewer, or leave the class out."
            )
        drawn.append(members[:shots])
    return np.concatenate(drawn)


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Returns features [N, D] with each row [D] centred and brought to length 1, in float64."""
    features = np.asarray(features, np.float64)
    features = features - features.mean(axis=1, keepdims=True)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def few_shot(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    shots: int,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> dict[str, float]:
    """Trains on `shots` images of each class and tests on all of the test split.

    Args:
        train_features: float [N, D].
        train_labels: int [N].
        test_features: float [M, D].
        test_labels: int [M].
        shots: how many images of each class.
        seed: the seed of the draw.
        class_names: the names of the classes, for the error message.

    Returns:
        {metric: value}, as `evaluation.results.accuracies` returns it.

    Raises:
        ValueError: a class has fewer images, or there are fewer than two classes.
    """
    drawn = draw_shots(train_labels, shots, seed, class_names)
    if len(drawn) == shots:
        raise UserError("The train data has one class; few-shot classification needs two or more.")
    model = LogisticRegression(C=1 / L2, fit_intercept=False, max_iter=MAX_ITERATIONS)
    fit(model, unit_rows(train_features[drawn]), train_labels[drawn])
    return accuracies(test_labels, model.predict(unit_rows(test_features)))


def run(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Runs the few-shot evaluation and writes the result.

    Args:
        subject: the `Subject` to evaluate.
        settings: `Settings`.

    Returns:
        The content of the results file, a dict: the means over the trials, and for each
        metric "std" and "values".
    """
    train = subject.train_features, subject.train.labels
    test = subject.test_features, subject.test.labels
    trials = [
        few_shot(*train, *test, settings.shots, seed, subject.class_names)
        for seed in range(settings.trials)
    ]
    outcome = {**over_trials(trials), "shots": settings.shots, "l2": L2}
    return write_result(subject, settings, outcome)


def _report(result):
    print(
        f"{result['shots']}-shot on {result['dataset']}: accuracy {with_spread(result)}, "
        f"mean per class {result['mean_per_class_accuracy']:.2%}\n"
        f"  {result['trials']} trials of {result['classes']} classes; "
        f"{result['test_images']} test images"
    )


def main(_: list[str]) -> None:
    shots = numbers(flags.FLAGS.shots)
    if not all(count.is_integer() for count in shots):
        raise UserError(f"--shots={','.join(flags.FLAGS.shots)}: expected whole numbers.")
    chosen = [settings_from_flags(Settings, shots=int(count)) for count in shots]
    subject = subject_from_flags(Settings)
    for settings in chosen:
        settings.check(subject.train)
    for settings in chosen:
        _report(run(subject, settings))
    tell_next()


if __name__ == "__main__":
    define_flags(Settings)
    flags.DEFINE_list(
        "shots", "1,10", "How many train images of each class; several numbers with commas."
    )
    binary.run(main)
