"""Lists of datasets: what is done stays done, and what fails does not stop the others."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image

from evaluation import transfer as module
from evaluation.transfer import PAPER, PROTOCOLS, TARGETS, Target, table, targets_of, transfer
from tests.evaluation.tiny import tiny_encoder, write_class_folders


@pytest.fixture
def run(tmp_path):
    """A workdir with an encoder in it, and two datasets of class folders."""
    for name in ("one", "two"):
        write_class_folders(tmp_path / name)
    (tmp_path / "run").mkdir()
    tiny_encoder().save(tmp_path / "run" / "encoder.keras")
    (tmp_path / "run" / "config.json").write_text(json.dumps({"image_size": 16}))
    return tmp_path


def specs(run, *names):
    return [f"folder:{run / name}" for name in names]


def test_the_papers_targets_are_datasets_of_tfds():
    known = set(tensorflow_datasets.list_builders(with_community_datasets=False))
    assert len(PAPER) == 11
    for target in TARGETS.values():
        assert target.spec.removeprefix("tfds:").partition("/")[0] in known
    by_class = {n for n, t in TARGETS.items() if t.metric == "mean_per_class_accuracy"}
    assert by_class == {"caltech101", "flowers", "pets"}


def test_names_of_targets():
    assert targets_of(["paper"]) == [*PAPER.values()]
    assert targets_of(["pets", "folder:a", "shapes"])[1:] == [Target("folder:a"), Target("shapes")]
    with pytest.raises(ValueError, match="no target 'dtdd'"):
        targets_of(["dtdd"])


def test_what_is_done_is_not_done_again(run, monkeypatch):
    counted = []

    def counting(name):
        def evaluate(*arguments):
            counted.append((name, arguments[1]))
            return original[name](*arguments)

        return evaluate

    original = dict(PROTOCOLS)
    monkeypatch.setattr(module, "PROTOCOLS", {name: counting(name) for name in original})
    targets = targets_of(specs(run, "one", "two"))
    first, failures = transfer(run / "run", targets, ["linear_probe", "knn"])
    assert not failures and len(counted) == len(first) == 4
    again, _ = transfer(run / "run", targets, ["linear_probe", "knn"])
    assert [json.dumps(r) for r in again.values()] == [json.dumps(r) for r in first.values()]
    assert len(counted) == 4
    # An image is exchanged: that dataset is done again, the other is not.
    file = next((run / "two" / "train").rglob("*.png"))
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(file)
    transfer(run / "run", targets, ["knn"])
    assert counted[4:] == [("knn", targets[1].spec)]
    # Another encoder: all of it.
    tiny_encoder(seed=5).save(run / "run" / "encoder.keras")
    transfer(run / "run", targets, ["knn"])
    assert len(counted) == 7


def test_a_failure_is_told_and_the_others_go_on(run):
    target = Target(f"folder:{run / 'missing'}", by_hand="fetch it")
    targets = [target, *targets_of(specs(run, "one"))]
    results, failures = transfer(run / "run", targets, ["knn", "few_shot_10", "few_shot_1"])
    assert [spec for spec, _ in results] == [targets[1].spec] * 3
    assert set(failures) == {(target.spec, protocol) for _, protocol in results}
    for reason in failures.values():
        assert "does not exist" in reason and "By hand: fetch it." in reason
    with pytest.raises(ValueError, match="no protocol 'nn'"):
        transfer(run / "run", targets, ["nn"])


def test_the_table_has_each_targets_own_metric():
    targets = [Target("a"), Target("b", "mean_per_class_accuracy")]
    result = {"accuracy": 0.5, "mean_per_class_accuracy": 0.25}
    text = table(targets, {("a", "knn"): result, ("b", "knn"): result, ("b", "probe"): result})
    assert text.splitlines()[2:] == [
        "| a | accuracy | 50.00 |  |",
        "| b | mean_per_class_accuracy | 25.00 | 25.00 |",
    ]


def test_the_binary(run):
    datasets = ",".join(specs(run, "one", "missing"))
    command = [sys.executable, "-m", "evaluation.transfer", f"--encoder={run / 'run'}"]
    command += [f"--datasets={datasets}", "--protocols=knn"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "| accuracy | 100.00 |" in done.stdout
    assert "1 failed; the same command tries them again" in done.stdout
