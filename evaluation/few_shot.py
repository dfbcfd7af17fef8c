"""Few-shot classification: logistic regression on the frozen features of n images of each class.

    python -m evaluation.few_shot --encoder=runs/simclr --dataset=shapes --shots=1,10

One and ten shots are the paper's (arXiv 2312.01187); how to classify so few follows the low-shot
protocol of MSN (Assran et al. 2022, arXiv 2204.07141; facebookresearch/msn, logistic_eval.py):
every feature vector is centred and brought to unit length by itself, and the objective, without
an intercept, is

    sum_i cross_entropy(x_i W, y_i) + L2/2 |W|^2,        L2 = 0.00025, fixed.

Nothing is chosen, so that no image but the n of each class is needed. Each trial draws others; the
result is the mean over trials. Results go to `few_shot_N-DATASET.json` in the workdir.
"""

import numpy as np
from absl import flags
from sklearn.linear_model import LogisticRegression

from evaluation.flags import define_encoder_flags, encoder_arguments, tell_next
from evaluation.frozen import accuracies, frozen_features, over_trials, with_spread, write_result
from evaluation.linear_probe import MAX_ITERATIONS, fit
from sassl_tf.errors import UserError
from training.command import binary

L2 = 0.00025
TRIALS = 5


def draw_shots(labels, shots, seed, class_names=None):
    """Indices [C * shots] of so many images of each class, in the order of the classes.

    Of one seed the draw for fewer shots is part of that for more.

    Args:
        labels: int [N].
        shots: how many of each class, 1 or more.
        seed: a seed of `numpy.random.default_rng`.
        class_names: for the error message.

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


def unit_rows(features):
    """Each row [D] of features [N, D] centred and brought to length 1, in float64."""
    features = np.asarray(features, np.float64)
    features = features - features.mean(axis=1, keepdims=True)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def few_shot(train_features, train_labels, test_features, test_labels, shots, seed, names=None):
    """Trains on `shots` images of each class and tests on all of the test split.

    Args:
        train_features: float [N, D].
        train_labels: int [N].
        test_features: float [M, D].
        test_labels: int [M].
        shots: how many of each class.
        seed: of the draw.
        names: of the classes, for the error message.

    Returns:
        What `evaluation.frozen.accuracies` does.

    Raises:
        ValueError: a class has fewer images, or there are fewer than two classes.
    """
    drawn = draw_shots(train_labels, shots, seed, names)
    if len(drawn) == shots:
        raise UserError("The train data has one class; few-shot classification needs two or more.")
    model = LogisticRegression(C=1 / L2, fit_intercept=False, max_iter=MAX_ITERATIONS)
    fit(model, unit_rows(train_features[drawn]), train_labels[drawn])
    return accuracies(test_labels, model.predict(unit_rows(test_features)))


def evaluate(encoder_path, dataset_spec, *, shots=1, trials=TRIALS, **preparation):
    """Runs the few-shot evaluation of an encoder on a dataset and writes the result.

    Args:
        encoder_path: and `dataset_spec` as for `evaluation.frozen.frozen_features`.
        shots: how many train images of each class.
        trials: how many draws, of the seeds 0, 1, ...
        **preparation: the options of `frozen_features`: `data_dir`, `workdir`, ...

    Returns:
        The content of `few_shot_N-DATASET.json`, a dict: the means over the trials, and for each
        metric "std" and "values".
    """
    frozen = frozen_features(encoder_path, dataset_spec, **preparation)
    found = [
        few_shot(
            frozen.train_features,
            frozen.train_labels,
            frozen.test_features,
            frozen.test_labels,
            shots,
            seed,
            frozen.class_names,
        )
        for seed in range(trials)
    ]
    settings = {"shots": shots, "trials": trials}
    outcome = {**over_trials(found), "shots": shots, "l2": L2, "settings": settings}
    return write_result(f"few_shot_{shots}", frozen, outcome)


def _report(result):
    print(
        f"{result['shots']}-shot on {result['dataset']}: accuracy {with_spread(result)}, "
        f"mean per class {result['mean_per_class_accuracy']:.2%}\n"
        f"  {result['trials']} trials of {result['classes']} classes; "
        f"{result['test_images']} test images"
    )


def main(_):
    values = flags.FLAGS
    for shots in values.shots:
        _report(evaluate(**encoder_arguments(), shots=int(shots), trials=values.trials))
    tell_next()


if __name__ == "__main__":
    define_encoder_flags()
    flags.DEFINE_list("shots", "1,10", "Train images of each class; several with commas.")
    flags.DEFINE_integer("trials", TRIALS, "Draws of them.", lower_bound=1)
    binary.run(main)
