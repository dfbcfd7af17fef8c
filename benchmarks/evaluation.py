"""Costs of the evaluation: the L2 sweep, and extraction against the encoder alone.

    python -m benchmarks.evaluation --output=benchmarks/results/evaluation.json

The sweep: 45 values of L2 from 1e-6 to 1e5 on made-up features, [6500, 512] of 10 classes, such as
ResNets give (not negative, many of them small, classes that overlap). "ours" is
`evaluation.linear_probe.regularization_path`; the others are scikit-learn's `LogisticRegression`,
a new model for each value. Each counts with its time, and with the largest excess of the objective
over the best that any solver found.

Extraction: images/s of `extract_features` on JPEG files, against the same encoder called on batches
that are ready in memory, in turn.
"""

import statistics
import time
import warnings

import numpy as np
import tensorflow as tf
from absl import app, flags
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from benchmarks.timing import machine, write_report
from evaluation.linear_probe import l2_sweep
from evaluation.logistic_regression import MAX_ITERATIONS, regularization_path
from sassl_tf.datasets import load_dataset
from sassl_tf.representation.features import extract_features
from training.encoders import build_encoder

SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")

_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)
_IMAGES = flags.DEFINE_string("images", None, "Folder of class folders.", required=True)
_BUDGET = flags.DEFINE_float("budget", 30, "Seconds after which a solver gets no more values.")
_SOLVERS = flags.DEFINE_multi_enum("solver", SOLVERS, SOLVERS, "Of scikit-learn's.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed calls; the median counts.")

BATCH = 128


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
        row["worst_excess"] = round(max(found[l2] / best[l2] - 1 for l2 in found), 6)
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


def extraction_rows(images, encoders, repeats):
    """A row for each encoder: {"encoder", "size", "ready", "extracted", "ratio"}, in images/s."""
    rows = []
    for name, size, count in encoders:
        encoder = build_encoder(name)
        dataset = images.subset(np.arange(len(images))[:count])
        batch = tf.random.stateless_uniform([BATCH, size, size, 3], [0, 0])
        encode = tf.function(lambda x, encoder=encoder: encoder(x, training=False), autograph=False)
        speeds = {"ready": [], "extracted": []}
        for _ in range(1 + repeats):  # the first of each traces, and does not count
            start = time.perf_counter()
            for _ in range(len(dataset) // BATCH):
                encode(batch).numpy()
            between = time.perf_counter()
            extract_features(encoder, dataset, size, BATCH, progress=False)
            end = time.perf_counter()
            speeds["ready"].append(len(dataset) / (between - start))
            speeds["extracted"].append(len(dataset) / (end - between))
        ready, extracted = (statistics.median(speeds[key][1:]) for key in ("ready", "extracted"))
        row = {"encoder": name, "size": size, "ready": round(ready, 1)}
        rows.append({**row, "extracted": round(extracted, 1), "ratio": round(extracted / ready, 3)})
    return rows


def main(_):
    features, labels = made_up_features(6500, 512, 10)
    sweep = sweep_rows(features, labels, _SOLVERS.value, _BUDGET.value)
    print(f"45 values of L2, 6500 x 512 features: {machine()}")
    for row in sweep:
        print(row)
    images = load_dataset(f"folder:{_IMAGES.value}", "train")
    encoders = [("resnet50", 224, 256), ("resnet18", 224, 512), ("resnet18", 96, 1024)]
    extraction = extraction_rows(images, encoders, _REPEATS.value)
    print("Images/s: the encoder on ready batches, extraction from JPEG files")
    for row in extraction:
        print(row)
    report = {"machine": machine(), "sweep": sweep, "extraction": extraction}
    write_report(_OUTPUT.value, report)


if __name__ == "__main__":
    app.run(main)
