"""The cost of the linear probe's L2 sweep, against scikit-learn's solvers.

    python -m benchmarks.l2_sweep --output=benchmarks/results/l2_sweep.json

45 values of L2 from 1e-6 to 1e5 on made-up features, [6500, 512] of 10 classes, such as ResNets
give (not negative, many of them small, classes that overlap). "ours" is
`evaluation.logistic_regression.regularization_path`; the others are scikit-learn's
`LogisticRegression`, a new model for each value. Each counts with its time, and, if it did all
values, with the largest excess of the objective over the best that any solver found.
"""

import time
import warnings

import numpy as np
from absl import flags
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from benchmarks.timing import machine, write_report
from evaluation.linear_probe import l2_sweep
from evaluation.logistic_regression import MAX_ITERATIONS, regularization_path
from training.command import binary

SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")

_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)
_BUDGET = flags.DEFINE_float("budget", 30, "Seconds after which a solver gets no more values.")
_SOLVERS = flags.DEFINE_multi_enum("solver", SOLVERS, SOLVERS, "Of scikit-learn's.")


def made_up_features(count, size, classes, seed=0):
    """Rectified float32 [count, size] of a falling spectrum, and labels of overlapping classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    spectrum = (1 + np.arange(size)) ** -0.7
    mixing = np.linalg.qr(rng.normal(size=(size, size)))[0]
    centres = 0.5 * rng.normal(size=(classes, size))
    latent = (centres[labels] + rng.normal(size=(count, size))) * spectrum
    return np.maximum(latent @ mixing, 0).astype(np.float32), labels


def objective(weights, bias, features, labels, l2):
    """sum_i cross_entropy + L2/2 |W|², of weights [C, D]."""
    logits = features @ weights.T + bias
    logits -= logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return losses.sum() + l2 / 2 * np.square(weights).sum()


def sweep_rows(features, labels, solvers, budget):
    """A row for each solver: {"solver", "seconds", "values", "worst_excess", "unconverged"}."""
    values = sorted(l2_sweep(), reverse=True)
    objectives = {}
    rows = [_timed_sweep("ours", _ours, features, labels, values, budget, objectives)]
    for solver in solvers:
        path = _scikit_learn(solver)
        rows.append(_timed_sweep(solver, path, features, labels, values, budget, objectives))
    for row in rows:
        found = objectives[row["solver"]]
        best = {l2: min(o[l2] for o in objectives.values() if l2 in o) for l2 in found}
        worst = round(float(max(found[l2] / best[l2] - 1 for l2 in found)), 6)
        # The excess is largest at the last values, so a part of them would flatter a solver.
        row["worst_excess"] = worst if len(found) == len(values) else None
    return rows


def _ours(features, labels, values):
    """Yields (l2, weights, bias), in the features' own coordinates."""
    for l2, classifier in regularization_path(features, labels, values):
        if not classifier.converged:
            warnings.warn(f"L2 {l2}", ConvergenceWarning, stacklevel=2)
        weights = classifier.model.coef_ / classifier.scale
        yield l2, weights, classifier.model.intercept_ - weights @ classifier.centre


def _scikit_learn(solver):
    def path(features, labels, values):
        features = features.astype(np.float64)
        for l2 in values:
            model = LogisticRegression(C=1 / l2, solver=solver, max_iter=MAX_ITERATIONS)
            model.fit(features, labels)
            yield l2, model.coef_, model.intercept_

    return path


def _timed_sweep(name, path, features, labels, values, budget, objectives):
    seconds, objectives[name] = 0.0, {}
    with threadpool_limits(1, "blas"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        start = time.perf_counter()
        for l2, weights, bias in path(features, labels, values):
            seconds += time.perf_counter() - start
            objectives[name][l2] = objective(weights, bias, features, labels, l2)
            if seconds > budget:
                break
            start = time.perf_counter()
    return {
        "solver": name,
        "seconds": round(seconds, 1),
        "values": len(objectives[name]),
        "unconverged": sum(issubclass(one.category, ConvergenceWarning) for one in caught),
    }


def main(_):
    features, labels = made_up_features(6500, 512, 10)
    rows = sweep_rows(features, labels, _SOLVERS.value, _BUDGET.value)
    print(f"45 values of L2, 6500 x 512 features: {machine()}")
    for row in rows:
        print(row)
    write_report(_OUTPUT.value, {"machine": machine(), "sweep": rows})


if __name__ == "__main__":
    binary.run(main)
