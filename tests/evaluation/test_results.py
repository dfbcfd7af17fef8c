"""Accuracies and trials by hand, and which results and trials count as done."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from evaluation import few_shot, finetune, knn, linear_probe, sgd_probe
from evaluation.results import (
    METRICS,
    accuracies,
    earlier_result,
    over_trials,
    result_name,
    with_spread,
)
from evaluation.subject import load_subject
from tests.evaluation.tiny import tiny_encoder, write_class_folders


def test_quadratic_kappa_by_its_formula():
    """1 - Σ w O / Σ w E, w the squared distance of grades, E what chance would give."""
    labels, predictions = np.array([0, 1, 4, 4, 0, 1]), np.array([0, 4, 4, 1, 1, 1])
    observed = (labels - predictions) ** 2
    chance = (labels[:, None] - predictions[None]) ** 2
    expected = 1 - observed.mean() / chance.mean()
    assert accuracies(labels, predictions)["quadratic_kappa"] == pytest.approx(expected)
    assert accuracies(labels, labels)["quadratic_kappa"] == 1
    assert accuracies(np.zeros(3, int), np.zeros(3, int))["quadratic_kappa"] == 0
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 40, (2, 500)) ** 2  # with grades that do not occur
    predictions = np.where(rng.random(500) < 0.5, labels, predictions)
    expected = cohen_kappa_score(labels, predictions, labels=np.arange(1601), weights="quadratic")
    assert accuracies(labels, predictions)["quadratic_kappa"] == pytest.approx(expected)
    named = accuracies(np.array(["a", "b"]), np.array(["a", "b"]))
    assert named["quadratic_kappa"] == 1


def test_mean_and_spread_of_trials():
    trials = [{"accuracy": a, "kappa": a - 1} for a in (0.5, 0.7, 0.9)]
    outcome = over_trials(trials)
    assert outcome["accuracy"] == pytest.approx(0.7) and outcome["kappa"] == pytest.approx(-0.3)
    assert outcome["std"]["accuracy"] == pytest.approx(np.std([0.5, 0.7, 0.9], ddof=1))
    assert outcome["values"]["accuracy"] == [0.5, 0.7, 0.9] and outcome["trials"] == 3
    assert with_spread(outcome) == "70.00% ± 20.00%"
    assert over_trials(trials[:1])["std"] == {"accuracy": None, "kappa": None}
    assert with_spread(over_trials(trials[:1])) == "50.00%"


def test_names_of_files():
    assert result_name("knn", "shapes") == "knn-shapes-36eb60.json"
    name = result_name("knn", "folder:" + "a/" * 500)
    assert len(name.encode()) < 255 and name != result_name("knn", "folder:" + "a/" * 501)


@pytest.fixture
def subject(tmp_path):
    write_class_folders(tmp_path / "data")
    tiny_encoder().save(tmp_path / "encoder.keras")
    (tmp_path / "config.json").write_text(json.dumps({"image_size": 16, "method": "moco"}))
    return load_subject(tmp_path, f"folder:{tmp_path / 'data'}")


L2_VALUES = np.logspace(-6, 5, 45).tolist()
# The names, revisions and "settings" of results files as they were before there were subjects.
WRITTEN = [
    (knn.Settings(), "knn", 1, {"k": None, "temperature": 0.1}),
    (knn.Settings(k=5), "knn", 1, {"k": 5, "temperature": 0.1}),
    (few_shot.Settings(shots=10), "few_shot_10", 2, {"shots": 10, "trials": 5}),
    (
        linear_probe.Settings(metric="quadratic_kappa"),
        "linear_probe",
        2,
        {"l2_values": L2_VALUES, "trials": 5, "metric": "quadratic_kappa"},
    ),
    (sgd_probe.Settings(), "sgd_probe", 3, {"recipe": None, "trials": 5}),
    (
        sgd_probe.Settings(recipe="byol", epochs=20.0),
        "sgd_probe",
        3,
        {"recipe": "byol", "trials": 5, "epochs": 20.0},
    ),
    (
        finetune.Settings(label_share=0.01, learning_rates=(0.1,)),
        "finetune_0.01",
        3,
        {
            "batch_size": 128,
            "steps": 5000,
            "learning_rates": [0.1],
            "weight_decays": [0.0, 0.0001],
            "label_share": 0.01,
            "metric": "accuracy",
            "seed": 0,
        },
    ),
]


def old_facts(subject):
    """Returns the facts about a subject as results files have had them from the beginning."""
    return {
        "encoder": str(subject.workdir),
        "encoder_fingerprint": subject.encoder_fingerprint,
        "feature_size": 6,
        "image_size": 16,
        "crop_proportion": 0.875,
        "preparation": 3,
        "dataset": subject.dataset,
        "dataset_fingerprints": {
            "train": subject.train.fingerprint,
            "test": subject.test.fingerprint,
        },
        "classes": 3,
        "train_images": 30,
        "test_images": 12,
        "validation_images": 0,
    }


def write_in_the_old_format(subject, evaluation, revision, settings):
    """Writes a results file as it was before there were subjects."""
    content = {
        "evaluation": evaluation,
        "revision": revision,
        "accuracy": 0.5,
        "mean_per_class_accuracy": 0.5,
        "quadratic_kappa": 0.25,
        "settings": settings,
        **old_facts(subject),
        "command": f"python -m evaluation.{evaluation}",
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
    }
    file = subject.workdir / result_name(evaluation, subject.dataset)
    file.write_text(json.dumps(content))
    return content


@pytest.mark.parametrize(("settings", "evaluation", "revision", "written"), WRITTEN)
def test_results_in_the_old_format_count_as_done(subject, settings, evaluation, revision, written):
    assert earlier_result(subject, settings) is None
    content = write_in_the_old_format(subject, evaluation, revision, written)
    assert earlier_result(subject, settings) == content
    for change in ({"image_size": 20}, {"crop_proportion": 1.0}, {"encoder": tiny_encoder(seed=3)}):
        assert earlier_result(dataclasses.replace(subject, **change), settings) is None
    field = next(name for name in written if name not in ("k", "batch_size", "recipe"))
    write_in_the_old_format(subject, evaluation, revision, {**written, field: 7})
    assert earlier_result(subject, settings) is None
    write_in_the_old_format(subject, evaluation, revision + 1, written)
    assert earlier_result(subject, settings) is None


def test_results_without_a_revision_are_of_the_first(subject):
    content = write_in_the_old_format(subject, "knn", 1, {"k": None, "temperature": 0.1})
    del content["revision"]
    file = subject.workdir / result_name("knn", subject.dataset)
    file.write_text(json.dumps(content))
    assert earlier_result(subject, knn.Settings()) == content


def test_what_is_written_counts_as_done(subject):
    settings = knn.Settings(k=3)
    result = knn.run(subject, settings)
    assert earlier_result(subject, settings) == result
    assert earlier_result(subject, knn.Settings()) is None


def test_trials_of_a_workdir_that_was_moved_are_not_done_again(subject, monkeypatch):
    """One training of fine-tuning, and one trial of the SGD probe."""
    settings = finetune.Settings(steps=5, batch_size=8, learning_rates=(0.1,), weight_decays=(0.0,))
    tuned = finetune.run(subject, settings)
    probe_settings = sgd_probe.Settings(trials=1, epochs=1.0)
    probed = sgd_probe.run(subject, probe_settings)
    workdir = subject.workdir / "moved"
    workdir.mkdir()
    for part in ("trials", "config.json", "encoder.keras"):
        (subject.workdir / part).rename(workdir / part)
    moved = dataclasses.replace(subject, encoder_path=workdir, workdir=workdir)
    monkeypatch.setattr(finetune, "train", None)  # calling it would raise
    monkeypatch.setattr(sgd_probe, "train_classifier", None)
    for name in METRICS:
        assert finetune.run(moved, settings)[name] == tuned[name]
        assert sgd_probe.run(moved, probe_settings)[name] == probed[name]
    with pytest.raises(TypeError):  # other images are another trial
        finetune.run(dataclasses.replace(moved, test=moved.train), settings)
