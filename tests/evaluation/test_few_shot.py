"""Few shots: balanced and reproducible draws, and the objective against SciPy's optimum."""

import json

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from sklearn.linear_model import LogisticRegression

from evaluation.few_shot import L2, Settings, draw_shots, few_shot, run, unit_rows
from evaluation.subject import load_subject
from tests import commands
from tests.evaluation.tiny import tiny_encoder, write_class_folders


def blobs(count, classes=3, size=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(9).normal(size=(classes, size))
    return centres[labels] + 0.7 * rng.normal(size=(count, size)), labels


def test_draws_are_balanced_reproducible_and_nested():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [12, 30, 11]))
    ten = draw_shots(labels, 10, seed=4)
    assert np.bincount(labels[ten]).tolist() == [10, 10, 10] and len(set(ten)) == 30
    np.testing.assert_array_equal(ten, draw_shots(labels, 10, seed=4))
    assert set(draw_shots(labels, 1, seed=4)) < set(ten)
    assert set(draw_shots(labels, 10, seed=5)) != set(ten)


def test_unit_rows_look_at_one_row_at_a_time():
    rows = np.random.default_rng(0).normal(size=(4, 7)) * 5 + 3
    units = unit_rows(rows)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1)
    np.testing.assert_allclose(units.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(units[:1], unit_rows(rows[:1]))
    np.testing.assert_array_equal(unit_rows(np.full((1, 5), 2.0)), np.zeros((1, 5)))


def test_the_classifier_is_the_optimum_of_the_objective():
    (train, labels), (test, expected_labels) = blobs(30), blobs(300, seed=1)
    drawn = draw_shots(labels, 3, seed=0)
    x, y = unit_rows(train[drawn]), np.eye(3)[labels[drawn]]

    def objective(w):
        w = w.reshape(6, 3)
        logits = x @ w
        losses = scipy.special.logsumexp(logits, axis=1) - (logits * y).sum(axis=1)
        return losses.sum() + L2 / 2 * (w**2).sum()

    w = scipy.optimize.minimize(objective, np.zeros(18), tol=1e-10).x.reshape(6, 3)
    expected = np.mean(np.argmax(unit_rows(test) @ w, axis=1) == expected_labels)
    found = few_shot(train, labels, test, expected_labels, 3, 0)["accuracy"]
    assert found == pytest.approx(expected, abs=0.01) and found > 0.5


def unit_clusters(classes, shots, size, spread, seed):
    """Unit rows around centres that are the same for every seed."""
    centres = np.random.default_rng(9).normal(size=(classes, size))
    labels = np.arange(classes * shots) % classes
    noise = np.random.default_rng(seed).normal(size=(len(labels), size))
    return unit_rows(centres[labels] + spread * noise), labels


CASES = [(10, 10, 16, 1.0), (100, 5, 32, 1.0), (400, 1, 16, 0.3)]
LARGER = [(1000, 1, 16, 0.3), (100, 10, 512, 4.0), (1000, 10, 2048, 0.5)]


@pytest.mark.parametrize(
    ("classes", "shots", "size", "spread"),
    [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in LARGER)],
)
def test_the_fit_converges_with_any_number_of_classes(classes, shots, size, spread):
    """To the accuracy, within 0.1 points, of a fit whose gradient is as good as 0."""
    train, labels = unit_clusters(classes, shots, size, spread, seed=0)
    test, expected_labels = unit_clusters(classes, max(2000 // classes, 5), size, spread, seed=1)
    exact = LogisticRegression(C=1 / L2, fit_intercept=False, tol=1e-9, max_iter=10_000)
    expected = exact.fit(train, labels).score(test, expected_labels)
    found = few_shot(train, labels, test, expected_labels, shots, 0)["accuracy"]
    assert found == pytest.approx(expected, abs=1e-3) and found > 3 / classes


def test_mistakes():
    train, labels = blobs(30)
    with pytest.raises(ValueError, match="Class cat has 10 train images, and 11 shots"):
        few_shot(train, labels, train, labels, 11, 0, ["cat", "dog", "cow"])
    with pytest.raises(ValueError, match="shots is 0"):
        draw_shots(labels, 0, 0)
    with pytest.raises(ValueError, match="has one class"):
        few_shot(train, np.zeros(30, int), train, labels, 2, 0)


def test_evaluate_and_the_binary(tmp_path):
    write_class_folders(tmp_path / "data")
    tiny_encoder().save(tmp_path / "encoder.keras")
    (tmp_path / "config.json").write_text(json.dumps({"image_size": 16}))
    dataset = f"folder:{tmp_path / 'data'}"
    result = run(load_subject(tmp_path, dataset), Settings(shots=2, trials=3))
    assert len(result["values"]["accuracy"]) == 3
    assert result["accuracy"] == pytest.approx(np.mean(result["values"]["accuracy"]))
    flags = [f"--encoder={tmp_path}", f"--dataset={dataset}", "--shots=1,2", "--trials=3"]
    done = commands.run("evaluation.few_shot", *flags)
    assert "1-shot on" in done.stdout and f"2-shot on {dataset}: accuracy" in done.stdout
    [file] = tmp_path.glob("few_shot_2-*.json")
    again = json.loads(file.read_text())
    assert again["values"] == result["values"] and "evaluation.few_shot" in again["command"]
