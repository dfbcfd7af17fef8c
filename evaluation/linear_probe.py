"""Linear probe: multinomial logistic regression on the frozen features of an encoder.

    python -m evaluation.linear_probe --encoder=runs/simclr --dataset=shapes

The protocol is that of SimCLR's appendix (arXiv 2002.05709, after Kornblith et al. 2019) and
of linusericsson/ssl-transfer: L-BFGS, 45 values of L2 from 1e-6 to 1e5, the best on a validation
split, then one more fit on train and validation data together. The validation split is the
dataset's own where it has one, else 20 % of each class of the train data, as ssl-transfer's is 20 %
of all; then five trials draw it anew, and the result is their mean and standard deviation. The
objective, W without the intercept, is

    sum_i cross_entropy(x_i W + b, y_i) + L2/2 |W|^2,        scikit-learn's C = 1 / L2.

Results go to `linear_probe-DATASET.json` in the workdir.
"""

import dataclasses
import warnings

import numpy as np
import scipy.sparse
from absl import flags
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from evaluation.flags import define_encoder_flags, encoder_arguments, tell_next
from evaluation.frozen import accuracies, frozen_features, over_trials, with_spread, write_result
from sassl_tf.errors import UserError
from training.command import binary

METRICS = ("accuracy", "mean_per_class_accuracy", "quadratic_kappa")
VALIDATION_SHARE = 0.2
MAX_ITERATIONS = 1000
TRIALS = 5
# A fit has converged where the largest entry of the gradient is this part of the largest at zero
# weights: where L2 is chosen, and of a classifier that is tested. In what was measured the accuracy
# of the latter is within 0.1 points of the optimum's, and those of a sweep within 0.4, farthest at
# the weakest L2, with the same best one.
CHOICE_TOLERANCE = 1e-4
TOLERANCE = 1e-5


def l2_sweep(count=45):
    """Returns `count` values of L2 from 1e-6 to 1e5, evenly spaced in their logarithm."""
    return np.logspace(-6, 5, count).tolist()


L2_VALUES = tuple(l2_sweep())


@dataclasses.dataclass(frozen=True)
class LinearProbeResult:
    """The outcome of a linear probe.

    Attributes:
        accuracy: on the test split, in [0, 1].
        mean_per_class_accuracy: on the test split, in [0, 1].
        quadratic_kappa: on the test split; of meaning for grades.
        l2: the value that was chosen.
        metric: what it was chosen by.
        sweep: (L2, validation score), from strong to weak; empty if there was nothing to choose.
        unconverged: how many of the fits stopped before the optimum.
        seed: of the validation split.
    """

    accuracy: float
    mean_per_class_accuracy: float
    quadratic_kappa: float
    l2: float
    metric: str
    sweep: list[tuple[float, float]]
    unconverged: int
    seed: int


@dataclasses.dataclass(frozen=True, eq=False)
class LinearClassifier:
    """Logistic regression in the coordinates `(features - centre) / scale`."""

    centre: np.ndarray
    scale: float
    model: LogisticRegression
    converged: bool

    def predict(self, features):
        """Returns the labels [N] of features [N, D]."""
        return self.model.predict((features - self.centre) / self.scale)


def regularization_path(features, labels, l2_values, tolerance=CHOICE_TOLERANCE):
    """Fits a logistic regression per value of L2, each starting from the one before.

    From strong to weak regularization every optimum is near the one before it, and the steps get
    dear only at the weak end.

    The features are not standardised: that would change what the L2 penalty means, and
    ssl-transfer does not do it. They are only moved to mean 0 and divided by one number, with L2
    in the same proportion. This is the same problem in other coordinates, for the intercept is not
    penalised; L-BFGS then takes a fifth of the steps. float64, because in float32 L-BFGS stops too
    early.

    Args:
        features: [N, D].
        labels: int [N], of two classes or more.
        l2_values: positive numbers.
        tolerance: of `fit`.

    Yields:
        (l2, LinearClassifier), from strong to weak. Use each before the next one is asked for,
        which trains the same scikit-learn model on.
    """
    centre = features.mean(axis=0, dtype=np.float64)
    coordinates = features - centre
    scale = float(coordinates.std()) or 1.0
    coordinates /= scale
    model = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)
    for l2 in sorted(l2_values, reverse=True):
        model.set_params(C=scale**2 / l2)
        yield l2, LinearClassifier(centre, scale, model, fit(model, coordinates, labels, tolerance))


def fit_logistic_regression(features, labels, l2):
    """Returns the LinearClassifier of features [N, D] and labels [N] at one value of L2."""
    [(_, classifier)] = regularization_path(features, labels, [l2], TOLERANCE)
    return classifier


def select_l2(features, labels, train, validation, l2_values, metric="accuracy"):
    """Chooses L2 on validation data; it never sees test data.

    Args:
        features: [N, D], train and validation data only.
        labels: int [N].
        train: indices to fit by.
        validation: indices to choose by.
        l2_values: positive numbers.
        metric: one of `METRICS`.

    Returns:
        The best L2 (of equals the strongest), the sweep [(l2, score)] and the number of fits that
        did not converge.
    """
    sweep, unconverged = [], 0
    path = regularization_path(features[train], labels[train], l2_values)
    for l2, classifier in tqdm(path, desc="Choosing L2", total=len(l2_values), disable=None):
        predictions = classifier.predict(features[validation])
        sweep.append((l2, accuracies(labels[validation], predictions)[metric]))
        unconverged += not classifier.converged
    best, _ = max(sweep, key=lambda pair: pair[1])  # max keeps the first of equals
    return best, sweep, unconverged


def stratified_split(labels, share, seed):
    """Splits indices into two sorted arrays; the second gets `share` of every class, at least one.

    Unlike scikit-learn's, it takes classes of one image: they stay whole in the first.

    Args:
        labels: int [N].
        share: in (0, 1).
        seed: a seed of `numpy.random.default_rng`.

    Raises:
        ValueError: no class has two images.
    """
    rng = np.random.default_rng(seed)
    second = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        second.extend(members[:count])
    if not second:
        raise UserError(
            "There is one train image per class, so none is left to choose by; give a validation "
            "split, or one value to choose from (of L2; of learning rate and weight decay, for "
            "evaluation.finetune)."
        )
    return np.setdiff1d(np.arange(len(labels)), second), np.sort(second)


def linear_probe(
    train_features,
    train_labels,
    test_features,
    test_labels,
    l2_values=L2_VALUES,
    seed=0,
    metric="accuracy",
    validation=None,
):
    """Trains a linear classifier on features and tests it.

    Args:
        train_features: float [N, D].
        train_labels: int [N].
        test_features: float [M, D].
        test_labels: int [M].
        l2_values: the values of L2 to choose from.
        seed: of the validation split, the only thing here that is random.
        metric: what L2 is chosen by, one of `METRICS`.
        validation: (features [V, D], labels [V]) to choose L2 by, and to fit by in the end; None:
            a fifth of each class of the train data.

    Returns:
        LinearProbeResult.

    Raises:
        ValueError: arrays of different lengths, one class only, no class of two images to choose
            L2 by, or an L2 or a metric that is none.
    """
    _check(train_features, train_labels, l2_values, metric)
    _check_lengths("test", test_features, test_labels)
    features, labels = train_features, train_labels
    if validation is not None:
        _check_lengths("validation", *validation)
        features = np.concatenate([train_features, validation[0]])
        labels = np.concatenate([train_labels, validation[1]])
    if len(l2_values) == 1:
        l2, sweep, unconverged = l2_values[0], [], 0
    else:
        if validation is None:
            fitted, held_out = stratified_split(labels, VALIDATION_SHARE, seed)
        else:
            fitted, held_out = np.split(np.arange(len(labels)), [len(train_labels)])
        chosen = select_l2(features, labels, fitted, held_out, l2_values, metric)
        l2, sweep, unconverged = chosen
    classifier = fit_logistic_regression(features, labels, l2)
    return LinearProbeResult(
        **accuracies(test_labels, classifier.predict(test_features)),
        l2=float(l2),
        metric=metric,
        sweep=sweep,
        unconverged=unconverged + (not classifier.converged),
        seed=seed,
    )


def evaluate(
    encoder_path,
    dataset_spec,
    *,
    l2_values=L2_VALUES,
    trials=TRIALS,
    metric="accuracy",
    **preparation,
):
    """Runs the linear probe of an encoder on a dataset and writes the result.

    Args:
        encoder_path: and `dataset_spec` as for `evaluation.frozen.frozen_features`.
        l2_values: the values of L2 to choose from.
        trials: how many validation splits, of the seeds 0, 1, ...; one where the dataset has its
            own, or where there is nothing to choose, since then nothing is random.
        metric: what L2 is chosen by, one of `METRICS`.
        **preparation: the options of `frozen_features`: `data_dir`, `workdir`, ...

    Returns:
        The content of `linear_probe-DATASET.json`, a dict: the means over the trials, for each
        metric "std" and "values", and for each trial "l2" and "sweep".
    """
    settings = {"l2_values": [*l2_values], "trials": trials, "metric": metric}
    frozen = frozen_features(encoder_path, dataset_spec, **preparation)
    if frozen.validation is not None or len(l2_values) == 1:
        trials = 1
    found = [
        linear_probe(
            frozen.train_features,
            frozen.train_labels,
            frozen.test_features,
            frozen.test_labels,
            l2_values=l2_values,
            seed=seed,
            metric=metric,
            validation=frozen.validation,
        )
        for seed in range(trials)
    ]
    outcome = {
        **over_trials([{name: getattr(one, name) for name in METRICS} for one in found]),
        "l2": [one.l2 for one in found],
        "sweep": [one.sweep for one in found],
        "settings": settings,
        "unconverged": sum(one.unconverged for one in found),
    }
    return write_result("linear_probe", frozen, outcome)


def fit(model, features, labels, tolerance=TOLERANCE):
    """Fits a scikit-learn LogisticRegression in place and returns whether it converged.

    scikit-learn bounds the largest entry of the gradient of the mean loss, which is in proportion
    to the share of a class in the images and to the scale of the features: with many classes it
    may be small from the start. So the bound is `tolerance` times that at zero weights.

    Args:
        model: the LogisticRegression; a warm start changes nothing about the bound.
        features: [N, D].
        labels: int [N], of two classes or more.
        tolerance: in (0, 1).
    """
    model.set_params(tol=tolerance * _gradient_at_zero(features, labels))
    # One remark at the end says what 45 warnings would.
    # NumPy and SciPy each bring an OpenBLAS whose threads spin while the other works: on two busy
    # cores 18.6 s in place of 0.7 (3,200 x 256). And one thread adds in the same order everywhere.
    with threadpool_limits(1, "blas"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(features, labels)
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _gradient_at_zero(features, labels):
    """The largest entry of the mean loss's gradient for the weights, where these are all zero."""
    classes, of_class = np.unique(labels, return_inverse=True)
    count = len(labels)
    one_hot = scipy.sparse.csr_array((np.ones(count), (of_class, np.arange(count))))
    gradient = np.mean(features, axis=0) / len(classes) - one_hot @ features / count
    return float(np.abs(gradient).max())


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


def main(_):
    values = flags.FLAGS
    _report(
        evaluate(
            **encoder_arguments(),
            l2_values=l2_sweep(values.l2_values),
            trials=values.trials,
            metric=values.metric,
        )
    )
    tell_next()


if __name__ == "__main__":
    define_encoder_flags()
    flags.DEFINE_integer("l2_values", 45, "How many L2 from 1e-6 to 1e5 to try.", lower_bound=2)
    flags.DEFINE_integer("trials", TRIALS, "Draws of the validation split.", lower_bound=1)
    flags.DEFINE_enum("metric", "accuracy", METRICS, "What L2 is chosen by.")
    binary.run(main)
