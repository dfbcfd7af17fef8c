"""What a run tells of itself."""

import dataclasses
import types

import keras
import tensorflow as tf
from ml_collections import ConfigDict

import sassl_tf
from training.configs.simclr import get_config
from training.encoders import build_encoder
from training.input.speed import available_cores
from training.report import summary


def test_what_decides_a_run_is_told():
    augment = sassl_tf.SASSLAugmentation(styles="in_batch", stylize_size=64, probability=0.5)
    told = summary.style(augment)
    assert told == "SASSL: compact stylizer, at 64 px, styles in batch, p 0.5, α 0.1–0.3, β 0.1–0.3"
    bank = len(sassl_tf.StyleBank.default("compact"))
    assert f"styles {bank:,} in a bank" in summary.style(sassl_tf.SASSLAugmentation())
    assert summary.style(None) == "off"
    others = {
        "FourierStyle: styles in batch, 1 of the spectrum, p 0.8, α 0–1": sassl_tf.FourierStyle(),
        "ColorStatistics: styles in batch, rgb, p 1, α 0.4": sassl_tf.ColorStatistics(1, 0.4),
        f"RandomStyle: compact stylizer, styles {bank:,} in a bank, p 0.8, α 0.5, β 1": (
            sassl_tf.RandomStyle()
        ),
    }
    moving = summary.style(sassl_tf.SASSLAugmentation(), {"blending_factor": (0.4, 1.0)})
    assert moving.endswith("α 0.1–0.3 to 0.4–1, β 0.1–0.3")
    assert [summary.style(layer) for layer in others.values()] == list(others)
    assert [summary.batch(64, 1), summary.batch(64, 4)] == ["64", "64, 16 on each of 4"]
    assert summary.batch(64, 2, 4) == "64, in 4 parts of 16, 8 on each of 2"
    crops = ConfigDict({"image_size": 224, "local_crops": 8, "local_size": 96})
    assert summary.views(crops) == "views of 224 px and 8 small crops of 96 px"
    crops.local_crops = 0
    assert summary.views(crops) == "views of 224 px"
    assert "helpers of here:1" in summary.source("host", "here:1")
    assert "within the train step" in summary.source("device", "")


def test_a_warm_up_that_is_cut_short_is_told():
    plan = types.SimpleNamespace(
        config=get_config("imagenet"), steps_per_epoch=312, total_steps=5 * 312
    )
    told = ", 1559 of them warm-up (optimizer.warmup_epochs is longer than the run)"
    assert summary._cut_warmup(plan) == told
    plan.total_steps = 11 * 312
    assert summary._cut_warmup(plan) == ""


def run_of(images, encoder=None, **config):
    config = ConfigDict({"encoder": {"name": "resnet18"}, **config})
    plan = types.SimpleNamespace(config=config, dataset=images)
    method = types.SimpleNamespace(encoder=encoder or keras.Sequential())
    return types.SimpleNamespace(plan=plan, method=method, workdir="runs/my run")


def test_the_end_is_a_command_to_type():
    shapes = sassl_tf.load_dataset("shapes", "test")
    run = run_of(shapes, dataset="tfds:cifar10", data_dir="/data")
    *where, last = summary.after(run, 61).splitlines()
    assert "Done in 1:01. In runs/my run:" in where
    assert last == (
        "Next: python -m evaluation.linear_probe '--encoder=runs/my run' --dataset=tfds:cifar10 "
        "--data_dir=/data"
    )
    assert any(line.endswith("Keras alone loads it") for line in where)
    vit = run_of(shapes, build_encoder("vit_micro8", image_size=16), dataset="shapes", data_dir="")
    assert "Keras loads it after import sassl_tf" in summary.after(vit, 61)
    assert "--import_module" not in summary.next_command(vit)
    vit.plan.config.encoder.name = "sassl_tf.vit:vision_transformer"
    assert summary.next_command(vit).endswith("--dataset=shapes --import_module=sassl_tf.vit")
    unlabelled = dataclasses.replace(shapes, class_names=[])
    told = summary.next_command(run_of(unlabelled, dataset="folder:x", data_dir="/data"))
    assert told.endswith("--dataset=folder:LABELLED")


def test_devices_are_counted(monkeypatch, tmp_path):
    strategy = tf.distribute.get_strategy()
    monkeypatch.setattr(summary, "NVIDIA_DRIVER", tmp_path / "none")
    assert summary.devices(strategy) == f"1 CPU, {available_cores()} cores here; no GPU was found"
    monkeypatch.setattr(summary, "NVIDIA_DRIVER", tmp_path)
    assert "and-cuda" in summary.devices(strategy)
