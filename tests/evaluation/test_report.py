"""Reports: means, spreads and paired differences by hand, and what goes side by side."""

import json
import shutil

import keras
import numpy as np
import pytest
import scipy.stats

from evaluation.report import compare, paired_difference, read_run, write_report
from sassl_tf.representation.features import encoder_fingerprint
from tests.evaluation.tiny import tiny_encoder

VERSIONS = {"python": "3.11", "tensorflow": "2.21"}


def write_run(folder, accuracies, method="simclr", seed=0, enabled=False, **config):
    """A workdir with {evaluation: accuracy} on one dataset."""
    folder.mkdir(parents=True)
    sassl = {"enabled": enabled, "stylizer": config.pop("stylizer", "compact")}
    content = {"method": method, "seed": seed, "epochs": 5, "sassl": sassl, **config}
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "commands.txt").write_text(f"python -m training.pretrain --config.seed={seed}\n")
    rows = [{"step": step, "loss": 5 / step} for step in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for evaluation, accuracy in accuracies.items():
        result = {
            "evaluation": evaluation,
            "dataset": "shapes",
            "accuracy": accuracy,
            "mean_per_class_accuracy": accuracy / 2,
            "versions": VERSIONS,
            "command": f"python -m evaluation.{evaluation}",
        }
        (folder / f"{evaluation}-shapes.json").write_text(json.dumps(result))
    return folder


@pytest.fixture
def workdirs(tmp_path):
    """Three seeds without and with SASSL; the second of another method, one seed."""
    folders = []
    for seed, (without, with_sassl) in enumerate([(0.50, 0.53), (0.54, 0.55), (0.52, 0.57)]):
        for enabled, accuracy in ((False, without), (True, with_sassl)):
            folder = tmp_path / f"simclr-{enabled}-{seed}"
            results = {"knn": accuracy, "linear_probe": accuracy + 0.1}
            folders.append(write_run(folder, results, seed=seed, enabled=enabled))
    folders.append(write_run(tmp_path / "byol", {"knn": 0.4}, method="byol"))
    return folders


def test_means_spreads_and_paired_differences(workdirs):
    rows = compare([read_run(folder) for folder in workdirs])
    found = {(r["setting"], r["evaluation"], r["variant"]): r for r in rows}
    baseline = found["simclr", "knn", "baseline"]
    assert baseline["values"] == pytest.approx({0: 50, 1: 54, 2: 52})
    assert (baseline["mean"], baseline["std"]) == pytest.approx((52, 2))
    assert "difference" not in baseline
    difference = found["simclr", "linear_probe", "SASSL"]["difference"]
    expected = scipy.stats.ttest_rel([53, 55, 57], [50, 54, 52]).confidence_interval(0.95)
    assert difference["mean"] == pytest.approx(3) and difference["pairs"] == 3
    assert (difference["low"], difference["high"]) == pytest.approx((expected.low, expected.high))
    assert found["byol", "knn", "baseline"]["std"] is None
    halves = compare([read_run(folder) for folder in workdirs], "mean_per_class_accuracy")
    assert halves[0]["mean"] == pytest.approx(26)


def test_detection_is_compared_apart_from_random_weights(tmp_path):
    """One encoder has a result of each; the names of the metrics are the field's."""
    folders = []
    for seed, values in enumerate([(0.10, 0.13, 0.02), (0.14, 0.15, 0.04)]):
        for enabled in (False, True):
            folder = write_run(tmp_path / f"{enabled}-{seed}", {}, seed=seed, enabled=enabled)
            for evaluation, ap50 in (("detect", values[enabled]), ("detect_random", values[2])):
                result = {"evaluation": evaluation, "dataset": "shapes", "ap50": ap50}
                result |= {"settings": {"init": evaluation}, "versions": VERSIONS}
                (folder / f"{evaluation}-shapes.json").write_text(json.dumps(result))
            folders.append(folder)
    text = write_report(folders, tmp_path / "report", "ap50")
    assert text.startswith("# AP50 with and without style augmentation")
    assert "| simclr | detect | shapes | SASSL | 14.00 ± 1.41 | 2 | +2.00 " in text
    assert "| simclr | detect_random | shapes | SASSL | 3.00 ± 1.41 | 2 | +0.00 " in text
    with pytest.raises(ValueError, match=r"Give another --metric: they have ap50\."):
        write_report(folders, tmp_path / "report")


def test_pairs_are_of_one_seed():
    expected = {"mean": 1.0, "low": None, "high": None, "pairs": 1}
    assert paired_difference({0: 5.0, 3: 9.0}, {0: 4.0, 1: 1.0}) == expected
    assert paired_difference({0: 5.0}, {1: 4.0}) is None


def test_the_report(workdirs, tmp_path):
    output = tmp_path / "report"
    text = write_report(workdirs, output)
    assert "| simclr | knn | shapes | SASSL | 55.00 ± 2.00 | 3 | +3.00 [-1.97, +7.97] |" in text
    assert "| byol | knn | shapes | baseline | 40.00 | 1 |  |" in text
    assert "python -m training.pretrain --config.seed=1\n" in text
    assert "python 3.11, tensorflow 2.21" in text and text == (output / "report.md").read_text()
    rows = json.loads((output / "report.json").read_text())["rows"]
    assert np.isclose(rows[0]["mean"], 52)
    for picture in ("accuracies.png", "curves.png"):
        assert (output / picture).read_bytes().startswith(b"\x89PNG")


def test_what_differs_names_settings_and_variants(tmp_path):
    runs = [
        read_run(write_run(tmp_path / name, {"knn": 0.5}, **config))
        for name, config in {
            "short": {"epochs": 5},
            "long": {"epochs": 9, "log_every": 7},
            "compact": {"epochs": 9, "enabled": True},
            "magenta": {"epochs": 9, "enabled": True, "stylizer": "magenta"},
        }.items()
    ]
    found = {(row["setting"], row["variant"]) for row in compare(runs)}
    assert found == {
        ("simclr, epochs=5", "baseline"),
        ("simclr, epochs=9", "baseline"),
        ("simclr, epochs=9", "SASSL, stylizer=compact"),
        ("simclr, epochs=9", "SASSL, stylizer=magenta"),
    }


def test_what_was_learned_from_is_known_by_its_fingerprints(tmp_path):
    """Other images under one path are another setting, another stylizer is another variant."""
    sassl = {"stylizer": "5e", "stylizer_precision": "float32", "styles": "in_batch"}
    runs = [
        read_run(write_run(tmp_path / name, {"knn": 0.5}, enabled=bool(more), fingerprints=prints))
        for name, prints, more in (
            ("baseline", {"listing": "aa"}, {}),
            ("sassl", {"listing": "aa", **sassl}, sassl),
            ("bfloat16", {"listing": "aa", **sassl, "stylizer_precision": "bfloat16"}, sassl),
            ("stylizer", {"listing": "aa", **sassl, "stylizer": "7f"}, sassl),
            ("elsewhere", {"listing": "bb", **sassl}, sassl),
        )
    ]
    rows = {(row["setting"], row["variant"]): row for row in compare(runs)}
    ours, other = "simclr, fingerprints.listing=aa", "simclr, fingerprints.listing=bb"
    named = "SASSL, fingerprints.stylizer={}, fingerprints.stylizer_precision={}"
    assert set(rows) == {
        (ours, "baseline"),
        (ours, named.format("5e", "float32")),
        (ours, named.format("5e", "bfloat16")),
        (ours, named.format("7f", "float32")),
        (other, "SASSL"),
    }
    assert rows[ours, named.format("5e", "float32")]["difference"]["pairs"] == 1
    assert rows[other, "SASSL"]["difference"] is None


def test_the_same_images_under_two_names_are_compared(tmp_path):
    """As tab completion adds a slash, for the images of the training and those of a result."""
    folders = []
    for seed in range(2):
        for enabled, name in ((False, "folder:photos"), (True, "folder:photos/")):
            prints = {"listing": "aa"}
            folder = write_run(
                tmp_path / f"{enabled}-{seed}",
                {"knn": 0.5 + 0.1 * enabled},
                seed=seed,
                enabled=enabled,
                fingerprints=prints,
                dataset=name,
            )
            file = folder / "knn-shapes.json"
            images = {"dataset": name, "dataset_fingerprints": {"train": "c", "test": "d"}}
            file.write_text(json.dumps({**json.loads(file.read_text()), **images}))
            folders.append(folder)
    text = write_report(folders, tmp_path / "report")
    rows = json.loads((tmp_path / "report" / "report.json").read_text())["rows"]
    assert [row["dataset"] for row in rows] == ["folder:photos"] * 2
    assert rows[1]["difference"]["mean"] == pytest.approx(10) and "+10.00" in text


@pytest.mark.parametrize("key", ["dataset_fingerprints", "image_size", "settings", "revision"])
def test_what_was_evaluated_in_different_ways_is_not_compared(workdirs, key):
    file = workdirs[1] / "knn-shapes.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: {"k": 7}}))
    with pytest.raises(
        ValueError, match=rf"knn on shapes: .* with different {key}: (None|1) and .*7"
    ):
        compare([read_run(folder) for folder in workdirs])


def test_results_of_two_encoders_in_one_workdir(workdirs):
    """As where a workdir was trained again, and not all evaluations were."""
    for name, fingerprint in (("knn", "a"), ("linear_probe", "b")):
        file = workdirs[0] / f"{name}-shapes.json"
        content = {**json.loads(file.read_text()), "encoder_fingerprint": fingerprint}
        file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="are of 2 encoders"):
        read_run(workdirs[0])


def test_results_of_another_encoder_than_that_of_the_workdir(workdirs):
    """As where a workdir was trained again, and not evaluated again."""
    encoder = tiny_encoder(side=8)
    for name, fingerprint in (("knn", encoder_fingerprint(encoder)), ("linear_probe", None)):
        file = workdirs[0] / f"{name}-shapes.json"
        content = {**json.loads(file.read_text()), "encoder_fingerprint": fingerprint}
        file.write_text(json.dumps(content))
    for file in workdirs[0].glob("*-shapes.json"):
        versions = {**VERSIONS, "keras": keras.__version__}
        file.write_text(json.dumps({**json.loads(file.read_text()), "versions": versions}))
    encoder.save(workdirs[0] / "encoder.keras")
    read_run(workdirs[0])
    tiny_encoder(side=8, seed=1).save(workdirs[0] / "encoder.keras")
    with pytest.raises(ValueError, match="are not of the encoder that it holds"):
        read_run(workdirs[0])


def test_a_file_that_was_being_written_is_passed_over(workdirs):
    (workdirs[0] / ".knn-shapes.host-1.json").write_text("{")
    assert len(read_run(workdirs[0])["results"]) == 2


def test_mistakes(workdirs, tmp_path):
    with pytest.raises(ValueError, match="is no pretraining workdir"):
        read_run(tmp_path)
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "config.json").write_text('{"image_size": 32}')
    with pytest.raises(ValueError, match="names no method"):
        read_run(tmp_path / "preset")
    (workdirs[-1] / "knn-shapes.json").unlink()
    with pytest.raises(ValueError, match="has no results yet"):
        read_run(workdirs[-1])
    twice = shutil.copytree(workdirs[0], tmp_path / "twice")
    with pytest.raises(ValueError, match="the same experiment with the same seed, 0"):
        write_report([*workdirs[:2], twice], tmp_path / "report")
