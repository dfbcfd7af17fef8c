"""The linear probe: its optimum, what chooses L2, and what is written."""

import json
import shutil

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from evaluation.linear_probe import (
    Settings,
    l2_sweep,
    linear_probe,
    run,
    select_l2,
    stratified_split,
)
from evaluation.logistic_regression import fit_logistic_regression, regularization_path
from evaluation.subject import load_subject
from sassl_tf.checked import read_json
from tests.conftest import shared_path
from tests.evaluation.tiny import blobs, tiny_encoder, write_class_folders
from training.conversion.packs import packed_images
from training.conversion.writers import write_folders


@pytest.mark.parametrize("l2", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0])
def test_the_fit_is_the_optimum_on_the_raw_features(l2, scale):
    features, labels = blobs(300)
    features = np.float64(scale) * features + 3 * scale  # far from centred
    ours = fit_logistic_regression(features, labels, l2)
    coordinates = (features - ours.centre) / ours.scale
    # Another solver, in the features' own coordinates, without warm start.
    newton = LogisticRegression(C=1 / l2, solver="newton-cg", tol=1e-10, max_iter=10_000)
    expected = newton.fit(features, labels).predict_proba(features)
    np.testing.assert_allclose(ours.model.predict_proba(coordinates), expected, atol=2e-3)
    assert np.mean(ours.predict(features) == newton.predict(features)) > 0.99


def test_a_warm_started_path_ends_where_cold_fits_end():
    features, labels = blobs(300)
    values = [0.1, 100.0, 1.0]
    order = []
    for l2, warm in regularization_path(features, labels, values):
        order.append(l2)
        cold = fit_logistic_regression(features, labels, l2)
        np.testing.assert_allclose(warm.model.coef_, cold.model.coef_, atol=0.02)
    assert order == [100.0, 1.0, 0.1]


@pytest.mark.parametrize(
    ("classes", "shots", "size"),
    [(10, 40, 16), (100, 5, 16), pytest.param(1000, 5, 32, marks=pytest.mark.slow)],
)
def test_the_sweep_and_the_fit_converge_with_any_number_of_classes(classes, shots, size):
    """As accurate as a fit whose gradient is as good as 0: to 0.1 points, 0.3 in a sweep."""
    centres = np.random.default_rng(9).normal(size=(classes, size))
    labels = np.arange(classes * shots) % classes
    features, test = (
        np.maximum(centres[labels] + np.random.default_rng(s).normal(size=(len(labels), size)), 0)
        for s in (0, 1)
    )
    l2 = 0.1
    coordinates = features - features.mean(axis=0)
    exact = LogisticRegression(C=1 / l2, tol=1e-9, max_iter=10_000).fit(coordinates, labels)
    expected = exact.score(test - features.mean(axis=0), labels)
    found = fit_logistic_regression(features, labels, l2)
    assert np.mean(found.predict(test) == labels) == pytest.approx(expected, abs=1e-3)
    *_, (_, swept) = regularization_path(features, labels, [1e3, 1e2, l2])
    assert np.mean(swept.predict(test) == labels) == pytest.approx(expected, abs=3e-3)


@pytest.mark.parametrize("features", [np.ones((20, 3)), np.zeros((20, 3))])
def test_features_that_tell_nothing(features):
    assert fit_logistic_regression(features, np.arange(20) % 2, 1.0).converged


def test_accuracy_agrees_with_a_plain_scikit_learn_protocol():
    train, test = blobs(400), blobs(300, seed=1)
    result = linear_probe(*train, *test, l2_values=l2_sweep(12))
    assert len(result.sweep) == 12 and result.unconverged == 0
    assert result.sweep == sorted(result.sweep, reverse=True)
    assert result.l2 == max(result.sweep, key=lambda pair: pair[1])[0]

    model = LogisticRegression(C=1 / result.l2, solver="newton-cg", max_iter=1000).fit(*train)
    assert result.accuracy == pytest.approx(model.score(*test), abs=0.01)
    expected = balanced_accuracy_score(test[1], model.predict(test[0]))
    assert result.mean_per_class_accuracy == pytest.approx(expected, abs=0.01)


def test_test_labels_have_no_part_in_the_choice_of_l2():
    train, (features, labels) = blobs(200), blobs(100, seed=1)
    shuffled = np.random.default_rng(0).permutation(labels)
    honest = linear_probe(*train, features, labels, l2_values=l2_sweep(12))
    blind = linear_probe(*train, features, shuffled, l2_values=l2_sweep(12))
    assert (honest.l2, honest.sweep) == (blind.l2, blind.sweep)
    assert honest.accuracy > blind.accuracy


@pytest.mark.parametrize(
    ("metric", "score"),
    [("accuracy", accuracy_score), ("mean_per_class_accuracy", balanced_accuracy_score)],
)
def test_l2_is_chosen_by_the_metric_on_the_validation_split(metric, score):
    features, labels = blobs(400, classes=3, spread=3.0)
    rare = np.random.default_rng(0).random(400) < 0.2
    keep = (labels == 0) | rare  # class 0 and a few of the others
    features, labels = features[keep], labels[keep]

    train, validation = stratified_split(labels, 0.2, seed=3)
    values = [1e5, 30.0, 1e-2]
    best, sweep, _ = select_l2(features, labels, train, validation, values, metric=metric)
    for l2, found in sweep:
        model = LogisticRegression(C=1 / l2, solver="newton-cg", max_iter=1000)
        model.fit(features[train], labels[train])
        assert found == score(labels[validation], model.predict(features[validation]))
    assert best == max(sweep, key=lambda pair: pair[1])[0]


def test_the_validation_split_is_stratified_and_takes_small_classes():
    labels = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    train, validation = stratified_split(labels, 0.2, seed=0)
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(63))
    assert np.bincount(labels[validation], minlength=4).tolist() == [10, 2, 1, 0]
    assert not np.array_equal(validation, stratified_split(labels, 0.2, seed=1)[1])
    assert np.array_equal(validation, stratified_split(labels, 0.2, seed=0)[1])


def test_a_validation_split_of_the_datasets_own():
    """It chooses L2, and the last fit is on train and validation together."""
    (train, validation, test) = (blobs(120, seed=seed, spread=3.0) for seed in (0, 1, 2))
    found = linear_probe(*train, *test, l2_values=l2_sweep(5), validation=validation)
    expected = []
    for l2, score in found.sweep:
        model = LogisticRegression(C=1 / l2, solver="newton-cg", max_iter=1000).fit(*train)
        assert score == pytest.approx(model.score(*validation), abs=0.01)
        expected.append(score)
    assert found.l2 == found.sweep[int(np.argmax(expected))][0]
    both = [np.concatenate(pair) for pair in zip(train, validation, strict=True)]
    model = LogisticRegression(C=1 / found.l2, solver="newton-cg", max_iter=1000).fit(*both)
    assert found.accuracy == pytest.approx(model.score(*test), abs=0.01)


def test_wrong_arguments_are_named():
    features, labels = blobs(20)
    test = features, labels
    with pytest.raises(ValueError, match="19 labels"):
        linear_probe(features, labels[:-1], *test)
    with pytest.raises(ValueError, match="fewer than two classes"):
        linear_probe(features, np.zeros(20, int), *test)
    with pytest.raises(ValueError, match="values of L2"):
        linear_probe(features, labels, *test, l2_values=[0.0, 1.0])
    with pytest.raises(ValueError, match="metric is 'f1'"):
        linear_probe(features, labels, *test, metric="f1")
    with pytest.raises(ValueError, match="none is left to choose by"):
        linear_probe(features[:2], np.array([0, 1]), *test)


def test_evaluate_writes_the_result(tmp_path, monkeypatch):
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path / "cache"))
    write_class_folders(tmp_path / "data")
    tiny_encoder(side=16).save(tmp_path / "tiny.keras")
    arguments = tmp_path / "tiny.keras", f"folder:{tmp_path / 'data'}"

    def evaluate():
        subject = load_subject(*arguments, workdir=tmp_path / "out")
        return run(subject, Settings(l2_values=l2_sweep(5)))

    with pytest.raises(ValueError, match="--workdir"):
        load_subject(*arguments)
    result = evaluate()
    assert result["accuracy"] == result["mean_per_class_accuracy"] == 1.0
    assert (result["train_images"], result["test_images"], result["image_size"]) == (30, 12, 16)
    assert result["versions"]["scikit-learn"]
    assert result["trials"] == len(result["l2"]) == len(result["sweep"]) == 5
    [file] = (tmp_path / "out").glob("linear_probe-folder-*.json")
    assert read_json(file) == json.loads(json.dumps(result))
    assert evaluate() == result

    shutil.copytree(tmp_path / "data" / "test", tmp_path / "data" / "val")
    again = evaluate()
    assert (result["validation_images"], again["validation_images"]) == (0, 12)
    assert again["trials"] == 1  # nothing is random where the dataset has a validation split


@pytest.mark.slow
def test_raw_pixels_of_cifar10_give_the_known_answer(tmp_path, monkeypatch):
    """Logistic regression on CIFAR-10's pixels is known to reach about 40 %, by many hands."""
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path / "cache"))
    write_folders(packed_images(shared_path("data/cifar10_jpeg.npz")), tmp_path / "cifar10")
    pixels = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])
    pixels.save(tmp_path / "pixels.keras")
    spec = f"folder:{tmp_path / 'cifar10'}"
    subject = load_subject(tmp_path / "pixels.keras", spec, workdir=tmp_path)
    result = run(subject, Settings(l2_values=(1e3,)))
    assert (result["train_images"], result["test_images"]) == (50_000, 10_000)
    assert 0.39 < result["accuracy"] < 0.41
