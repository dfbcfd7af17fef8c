"""The preset of a workdir: what of it others see."""

import json

import pytest

from evaluation.save_preset import METHODS, card, save_preset
from sassl_tf.checked import read_json
from sassl_tf.presets import load_encoder
from sassl_tf.representation.features import encoder_fingerprint
from tests import commands
from tests.evaluation.tiny import tiny_encoder
from training import methods
from training.configs import simclr
from training.encoders import build_encoder
from training.engine.workdir import open_workdir


@pytest.fixture
def workdir(tmp_path):
    """As a pretraining and three evaluations leave it, one of them of an earlier encoder."""
    config = simclr.get_config("smoke")
    config.dataset = "folder:/home/me/secret/photos"
    workdir = open_workdir(tmp_path / "run", config, {"images": 4000})
    encoder = tiny_encoder()
    encoder.save(workdir / "encoder.keras")
    (workdir / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 9.0, "knn_accuracy": 50.0}\n{"step": 2, "loss": 3.25}\n'
    )
    result = {"evaluation": "knn", "dataset": "folder:/home/me/secret/pets", "accuracy": 0.8125}
    result.update(train_images=30, test_images=12, command="python -m x --data_dir=/home/me/secret")
    for name, fingerprint in (("now", encoder_fingerprint(encoder)), ("before", "0123")):
        content = {**result, "encoder_fingerprint": fingerprint}
        content["evaluation"] = {"now": "knn", "before": "few_shot_1"}[name]
        (workdir / f"{content['evaluation']}-pets.json").write_text(json.dumps(content))
    del content["accuracy"]
    content.update(evaluation="detect_random", dataset="voc:/home/me/secret/VOC2007", ap50=0.5)
    content.update(ap=0.25, std={"ap50": 0.01, "ap": None}, settings={"init": "random"}, trials=2)
    content["encoder_fingerprint"] = encoder_fingerprint(encoder)
    (workdir / "detect_random-voc.json").write_text(json.dumps(content))
    return workdir


def test_the_preset_of_a_workdir(workdir, tmp_path):
    output = tmp_path / "out" / "simclr-photos"
    done = commands.run(
        "evaluation.save_preset",
        f"--encoder={workdir}",
        f"--output={output}",
        "--license=apache-2.0",
    )
    assert done.returncode == 0, done.stderr
    expected = encoder_fingerprint(load_encoder(workdir))
    assert encoder_fingerprint(load_encoder(output)) == expected
    config, metrics = read_json(output / "config.json"), read_json(output / "metrics.json")
    assert config["dataset"] == "folder:photos" and config["image_size"] == 32
    assert config["sassl"] == read_json(workdir / "config.json")["sassl"]
    assert metrics["training"] == {"step": 2, "loss": 3.25, "knn_accuracy": 50.0}
    found, result = metrics["evaluations"]  # that of the earlier encoder is left out
    assert (found["ap50"], found["trials"], found["settings"]) == (0.5, 2, {"init": "random"})
    assert (result["dataset"], result["accuracy"]) == ("folder:pets", 0.8125)
    card = (output / "README.md").read_text()
    for told in (
        "license: apache-2.0",
        "SimCLR pretrained without labels on `folder:photos`",
        "to 6 features; it was trained on views of 32 px",
        "| knn | folder:pets | accuracy 81.25% | 30 / 12 |",
        "| detect_random | voc:VOC2007 | AP50 50.00% ± 1.00%, AP 25.00% | 30 / 12 |",
        "| last loss | 3.25 |",
        "compact stylizer, styles default, p 0.8, α [0.1, 0.3], β [0.1, 0.3]",
    ):
        assert told in card
    for file in output.iterdir():
        if file.suffix != ".keras":
            assert "secret" not in file.read_text(), file


def test_the_card_shows_the_metric_that_counts():
    config = simclr.get_config("smoke").to_dict()
    rows = [
        {"evaluation": "shape_bias", "dataset": "folder:pets", "shape_bias": 0.25},
        {
            "evaluation": "linear_probe",
            "dataset": "folder:caltech",
            "accuracy": 0.5,
            "mean_per_class_accuracy": 0.75,
            "settings": {"metric": "mean_per_class_accuracy"},
        },
    ]
    text = card("a", tiny_encoder(), config, {"evaluations": rows, "training": {}}, "")
    assert "| shape_bias | folder:pets | shape bias 25.00% |" in text
    assert "| linear_probe | folder:caltech | mean per class accuracy 75.00% |" in text


def test_the_card_says_what_plain_keras_needs(tmp_path):
    config, metrics = simclr.get_config("smoke").to_dict(), {"evaluations": [], "training": {}}
    assert "loads `encoder.keras` without the package too" in card(
        "a", tiny_encoder(), config, metrics, ""
    )
    transformer = build_encoder("vit_tiny16", image_size=16)
    text = card("a", transformer, {**config, "method": "dino"}, metrics, "")
    assert "loads `encoder.keras` too, after `import sassl_tf`." in text
    assert " that DINO pretrained" in text and {*METHODS} == {*methods.METHODS}


def test_an_encoder_without_a_workdir_is_told(tmp_path):
    tiny_encoder().save(tmp_path / "encoder.keras")
    with pytest.raises(ValueError, match=r"no config\.json.*call sassl_tf\.save_to_preset"):
        save_preset(tmp_path, tmp_path / "out")
