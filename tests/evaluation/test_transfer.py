"""Lists of datasets: what is done stays done, and what fails does not stop the others."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from evaluation import evaluations as module
from evaluation import knn, linear_probe
from evaluation import subject as subjects
from evaluation.evaluations import OTHERS, PROTOCOLS, make_evaluation, protocol_of
from evaluation.results import REVISIONS, result_name
from evaluation.subject import load_subject
from evaluation.targets import BY_CLASS, Target, targets_of
from evaluation.transfer import table, transfer, write_report
from sassl_tf.checked import read_json
from sassl_tf.datasets import MissingSplit
from sassl_tf.datasets.dataset import DamagedImages
from sassl_tf.errors import UserError
from tests import commands
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


def shortened(fields):
    """`protocol_of` with other {field: value} of the settings of {protocol without number}."""

    def find(name):
        protocol, own = protocol_of(name)
        return protocol, {**own, **fields.get(protocol.Settings.name, {})}

    return find


def test_names_of_protocols():
    for name in (*PROTOCOLS, "few_shot_3", "finetune_0.05"):
        one = make_evaluation("home", name, Target("folder:a"))
        assert callable(one.run) and one.settings.evaluation == one.protocol == name
    for name in ("nn", "few_shot_", "few_shot_a", "finetune_2", "finetune_0.10", "knn_5"):
        with pytest.raises(ValueError, match=f"no protocol '{name}'"):
            protocol_of(name)


def test_what_is_done_is_not_done_again(run, monkeypatch):
    counted = []

    def count(protocol):
        original = protocol.run

        def run_and_count(subject, settings):
            counted.append((settings.name, subject.dataset))
            return original(subject, settings)

        monkeypatch.setattr(protocol, "run", run_and_count)

    original_knn = knn.run
    count(knn)
    count(linear_probe)
    quick = {"linear_probe": {"l2_values": (1.0, 0.01), "trials": 1}}
    monkeypatch.setattr(module, "protocol_of", shortened(quick))
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
    # Another preparation, or another metric to choose by: again.
    other = [dataclasses.replace(targets[0], crop_proportion=1.0)]
    result, _ = transfer(run / "run", other, ["knn"])
    assert len(counted) == 6 and result[targets[0].name, "knn"]["crop_proportion"] == 1.0
    other = [dataclasses.replace(targets[1], metrics=("mean_per_class_accuracy",))]
    transfer(run / "run", other, ["linear_probe", "knn"])
    assert counted[6:] == [("linear_probe", targets[1].spec)]
    # Made with other settings, or at another size, it is not what is asked for.
    original_knn(load_subject(run / "run", targets[0].spec), knn.Settings(k=1))
    transfer(run / "run", targets[:1], ["knn"])
    transfer(run / "run", targets[:1], ["knn"], image_size=24)
    transfer(run / "run", targets[:1], ["knn"])
    assert counted[7:] == [("knn", targets[0].spec)] * 3
    # Another encoder: all of it.
    tiny_encoder(seed=5).save(run / "run" / "encoder.keras")
    transfer(run / "run", targets, ["knn"])
    assert len(counted) == 12
    # Of another revision of the evaluation: again. Without one it is of the first.
    file = run / "run" / result_name("knn", targets[0].spec)
    result = read_json(file)  # without its checksum, which would tell of the change
    del result["revision"]
    file.write_text(json.dumps(result))
    transfer(run / "run", targets, ["knn"])
    assert len(counted) == 12
    monkeypatch.setitem(REVISIONS, "knn", 2)
    transfer(run / "run", targets[:1], ["knn"])
    assert len(counted) == 13 and json.loads(file.read_text())["revision"] == 2


def test_every_protocol_of_the_list(run):
    """Fine-tuning and both probes shortened; the others as they are."""
    short = {
        "linear_probe": {"l2_values": (0.1, 10.0), "trials": 2},
        "sgd_probe": {"recipe": "byol", "epochs": 1, "trials": 2},
        "finetune": {"steps": 3, "learning_rates": [0.1], "weight_decays": [0.0]},
    }

    names = [name for name in PROTOCOLS if name != "few_shot_10"]
    targets = targets_of([f"caltech101={specs(run, 'one')[0]}"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "protocol_of", shortened(short))
        results, failures = transfer(run / "run", targets, names)
        again, _ = transfer(run / "run", targets, names)
    assert json.dumps([*again.values()]) == json.dumps([*results.values()])
    assert not failures and [protocol for _, protocol in results] == names
    for (_, protocol), result in results.items():
        assert result["evaluation"] == protocol and result["crop_proportion"] == 1.0
        if "metric" in result["settings"]:
            assert result["settings"]["metric"] == "mean_per_class_accuracy"
    assert results["caltech101", "finetune_0.1"]["labelled_images"] == 3


def test_a_failure_is_told_and_the_others_go_on(run):
    target = Target(f"folder:{run / 'missing'}", by_hand="fetch it")
    targets = [target, *targets_of(specs(run, "one"))]
    results, failures = transfer(run / "run", targets, ["knn", "few_shot_10", "few_shot_1"])
    assert [name for name, _ in results] == [targets[1].spec] * 3
    assert set(failures) == {(target.spec, protocol) for _, protocol in results}
    for reason in failures.values():
        assert "does not exist" in reason and "By hand: fetch it." in reason
    there = dataclasses.replace(targets[1], by_hand="fetch it")
    _, failures = transfer(run / "run", [there], ["few_shot_50"])
    [reason] = failures.values()
    assert "50 shots" in reason and "By hand" not in reason  # the images are there
    with pytest.raises(ValueError, match="no protocol 'nn'"):
        transfer(run / "run", targets, ["nn"])
    with pytest.raises(ValueError, match="no protocol 'robustnes'") as told:
        transfer(run / "run", targets, ["robustnes"])
    assert "shape_bias" not in str(told.value)
    for name in OTHERS:
        with pytest.raises(UserError, match=f"python -m evaluation.{name}"):
            transfer(run / "run", targets, ["knn", name])
    without_images = [*targets_of(["aircraft"]), Target("", name="other")]
    _, failures = transfer(run / "run", without_images, ["knn"])
    assert "fgvc-aircraft-2013b" in failures["aircraft", "knn"]
    assert failures["other", "knn"] == "There are no images of other."


def test_a_dataset_that_cannot_be_loaded_is_tried_once(run, monkeypatch):
    tried = []

    def load(*arguments):
        tried.append(arguments[1])
        raise UserError("no such images")

    monkeypatch.setattr(subjects, "load_dataset", load)
    _, failures = transfer(run / "run", targets_of(specs(run, "one")), ["knn", "few_shot_1"])
    assert [*failures.values()] == ["no such images"] * 2 and tried == ["train"]


def test_settings_are_checked_before_features_are_extracted(run, monkeypatch):
    monkeypatch.setattr(subjects, "extract_features", None)  # calling it would raise a TypeError
    _, failures = transfer(run / "run", targets_of(specs(run, "one")), ["few_shot_50"])
    [reason] = failures.values()
    assert "50 shots" in reason
    flags = [f"--encoder={run / 'run'}", f"--dataset={specs(run, 'one')[0]}", "--shots=1,50"]
    done = commands.run("evaluation.few_shot", *flags)
    assert done.returncode == 1 and "50 shots" in done.stderr and not done.stdout
    assert not (run / "run" / "features").exists()


def test_a_setting_does_not_contradict_the_protocol():
    with pytest.raises(UserError, match=r"has label_share 0\.1, and --label_share=0\.01 is"):
        make_evaluation("home", "finetune_0.1", Target("folder:a"), ["--label_share=0.01"])
    with pytest.raises(UserError, match="seed=-1"):
        make_evaluation("home", "finetune", Target("folder:a"), ["--seed=-1"])
    one = make_evaluation("home", "finetune_0.1", Target("folder:a"), ["--label_share=0.1"])
    assert one.settings.label_share == 0.1


def test_each_dataset_and_the_encoder_are_loaded_once(run, monkeypatch):
    loaded = []

    def counting(name, owner):
        original = getattr(owner, name)

        def load(*arguments, **options):
            loaded.append(arguments[0] if name == "load_encoder" else arguments[1])
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, load)

    counting("load_encoder", module)
    counting("load_dataset", subjects)
    monkeypatch.setattr(subjects, "load_encoder", None)  # calling it would raise
    transfer(run / "run", targets_of(specs(run, "one", "two")), ["knn", "few_shot_1", "few_shot_2"])
    assert loaded == [run / "run", *2 * ["train", "test", "validation"]]


@pytest.mark.parametrize("place", ["protocol", "dataset"])
def test_mistakes_in_the_code_are_no_failures_of_a_dataset(run, monkeypatch, place):
    for error in (TypeError, KeyError, AssertionError, ValueError, RuntimeError):

        def mistaken(*arguments, error=error, **options):
            raise error("a mistake")

        if place == "dataset":
            monkeypatch.setattr(subjects, "load_dataset", mistaken)
        else:
            monkeypatch.setattr(knn, "run", mistaken)
        with pytest.raises(error, match="a mistake"):
            transfer(run / "run", targets_of(specs(run, "one")), ["knn"])


def test_errors_of_data_are_failures_of_a_dataset(run, monkeypatch):
    targets = targets_of(specs(run, "one", "two"))
    for error in (UserError, OSError, MissingSplit, DamagedImages, MemoryError):

        def failing(subject, settings, error=error):
            raise error("bad data")

        monkeypatch.setattr(knn, "run", failing)
        assert transfer(run / "run", targets, ["knn"]) == (
            {},
            {(target.name, "knn"): "bad data" for target in targets},
        )


def test_the_table_has_each_targets_own_metrics():
    targets = [Target("a", ("accuracy", "quadratic_kappa")), Target("b", BY_CLASS)]
    result = {"accuracy": 0.5, "mean_per_class_accuracy": 0.25, "quadratic_kappa": -0.125}
    several = {**result, "std": {"mean_per_class_accuracy": 0.01}}
    found = {("a", "knn"): result, ("b", "knn"): result, ("b", "probe"): several}
    assert table(targets, found).splitlines()[2:] == [
        "| a | accuracy | 50.00 |  |",
        "| a | quadratic_kappa | -12.50 |  |",
        "| b | mean_per_class_accuracy | 25.00 | 25.00 ± 1.00 |",
    ]


def test_the_report_of_a_transfer(run):
    targets = targets_of([f"pets={specs(run, 'one')[0]}", *specs(run, "two")])
    results, _ = transfer(run / "run", targets, ["knn", "few_shot_1"])
    text = write_report(run / "run", targets, results)
    assert (run / "run" / "transfer.md").read_text() == text
    assert "| pets | mean_per_class_accuracy |" in text and "tensorflow " in text
    rows = json.loads((run / "run" / "transfer.json").read_text())
    assert [(row["target"], row["protocol"]) for row in rows] == [*results]
    assert Image.open(run / "run" / "transfer.png").size[0] > 300


def test_the_binary(run):
    datasets = ",".join(specs(run, "one", "missing"))
    flags = [f"--encoder={run / 'run'}", f"--dataset={datasets}", "--protocols=knn"]
    done = commands.run("evaluation.transfer", *flags)
    assert done.returncode == 1 and "| accuracy | 100.00 |" in done.stdout
    assert "1 failed; the same command tries them again" in done.stdout
