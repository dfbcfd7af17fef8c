"""`config.style`: the layer of every choice, and workdirs and commands of before there was one."""

import json
import sys
from unittest import mock

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

import sassl_tf
from evaluation.report import compare, read_run
from sassl_tf.checked import read_json
from sassl_tf.datasets.shapes import shapes
from tests.evaluation.test_report import write_run
from training.config_checks.check import check_config
from training.configs import simclr
from training.configs.earlier import up_to_date
from training.engine.assembly import fingerprints
from training.engine.workdir import open_workdir
from training.input.pipeline import view_batches
from training.styles import STYLES, build_augmentation, style_of

LAYERS = {
    "sassl": sassl_tf.SASSLAugmentation,
    "fourier": sassl_tf.FourierStyle,
    "color_statistics": sassl_tf.ColorStatistics,
    "random_style": sassl_tf.RandomStyle,
}


def config_of(*arguments):
    """The config that a command line gives."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    command = ["program", "--config=training/configs/simclr.py:smoke", *arguments]
    with mock.patch.object(sys, "argv", command):  # where overrides are looked for
        values(command)
    check_config(values.config)
    return values.config


def test_every_choice_is_its_layer_with_the_arguments_of_its_section():
    assert LAYERS.keys() == STYLES.keys()
    for style, layer in LAYERS.items():
        config = simclr.get_config("smoke")
        config.style, config[style].probability = style, 0.25
        config[style].blending_factor = (0.2, 0.4)
        augment = build_augmentation(config)
        assert type(augment) is layer and augment.value_range == (0, 1)
        assert (augment.probability, augment.blending_factor) == (0.25, (0.2, 0.4))
        assert not augment.static_shapes
        config.augment_on = "device"
        assert build_augmentation(config).static_shapes


def test_the_precision_on_a_device_is_that_of_the_training():
    """And not that of the host's processor, which has no part in it."""
    config = simclr.get_config("smoke")
    config.augment_on = "device"
    for training, expected in (
        ("float32", "float32"),
        ("mixed_bfloat16", "bfloat16"),
        ("mixed_float16", "float32"),
    ):
        config.precision = training
        assert build_augmentation(config).working_precision == expected
    config.sassl.precision = "bfloat16"
    assert build_augmentation(config).working_precision == "bfloat16"


def test_own_arguments():
    config = simclr.get_config("smoke")
    config.style, config.fourier.styles, config.fourier.frequency_share = (
        "fourier",
        "one_in_batch",
        0.1,
    )
    augment = build_augmentation(config)
    assert (augment.styles, augment.frequency_share) == ("one_in_batch", 0.1)
    config.style, config.color_statistics.color_space = "color_statistics", "lab"
    assert build_augmentation(config).color_space == "lab"
    config.style, config.random_style.styles = "random_style", "in_batch"
    with pytest.raises(ValueError, match="a style bank of at least two codes"):
        build_augmentation(config)


@pytest.mark.parametrize(
    ("arguments", "style"),
    [
        ([], "sassl"),
        (["--config.style=none"], "none"),
        (["--config.style=fourier"], "fourier"),
        # Commands of before there was a choice.
        (["--config.sassl.enabled=False"], "none"),
        (
            ["--config.sassl.blending_factor=(0.4, 1.0)", "--config.sassl.precision=float32"],
            "sassl",
        ),
        (["--config.style=fourier", "--config.sassl.enabled=False"], "fourier"),
    ],
)
def test_commands(arguments, style):
    assert style_of(config_of(*arguments)) == style


@pytest.mark.parametrize("style", ["fourier", "random_style"])
def test_the_other_draws_are_the_same_whatever_the_style(style):
    """One style augments the images that another one does; crops and colours do not change."""
    config = simclr.get_config("smoke")
    config.batch_size, config.image_size, config.augment_on = 4, 16, "device"
    config.style, dataset = style, shapes(count=8)
    own, sassl, plain = (
        next(iter(view_batches(dataset, config, layer)))
        for layer in (build_augmentation(config), sassl_tf.SASSLAugmentation(), None)
    )
    assert "sassl" not in plain["left"]["draws"]
    np.testing.assert_array_equal(
        own["left"]["draws"]["sassl"]["apply"], sassl["left"]["draws"]["sassl"]["apply"]
    )
    for side in ("left", "right"):
        for name, value in plain[side]["draws"].items():
            np.testing.assert_array_equal(own[side]["draws"][name], value)


def written(folder, config, change):
    """A begun run whose `config.json` is as an earlier version wrote it."""
    augment = build_augmentation(config)
    prints = fingerprints(shapes(count=40), augment)
    content = {**json.loads(config.to_json()), "fingerprints": prints}
    change(content)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "ckpt-5.index").touch()
    (folder / "config.json").write_text(json.dumps(content))
    return prints


def without_styles(content):
    for name in ("style", "fourier", "color_statistics", "random_style"):
        del content[name]
    del content["sassl"]["blending_factor_end"], content["sassl"]["interpolation_factor_end"]


@pytest.mark.parametrize("begun", ["--config.sassl.enabled=True", "--config.sassl.enabled=False"])
def test_a_workdir_of_before_continues(begun, tmp_path):
    prints = written(tmp_path / "run", config_of(begun), without_styles)
    open_workdir(tmp_path / "run", config_of(begun), prints)
    with pytest.raises(ValueError, match=r"style: there '(sassl|none)', here 'fourier'"):
        open_workdir(tmp_path / "run", config_of("--config.style=fourier"), prints)
    with pytest.raises(ValueError, match=r"sassl.blending_factor: there \[0.1, 0.3\]"):
        strong = config_of(begun, "--config.sassl.blending_factor=(0.4, 1.0)")
        open_workdir(tmp_path / "run", strong, prints)


def test_both_ways_of_switching_off_are_one_run(tmp_path):
    off, none = config_of("--config.sassl.enabled=False"), config_of("--config.style=none")
    for number, (first, second) in enumerate([(off, none), (none, off)]):
        folder = tmp_path / str(number)
        open_workdir(folder, first)
        content = read_json(folder / "config.json")
        assert content["style"] == "none" and content["sassl"]["enabled"] is False
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "ckpt-5.index").touch()
        open_workdir(folder, second)


def test_configs_without_styles_are_left_alone():
    distillation = {"teacher": "magenta", "steps": 3}
    assert up_to_date(distillation) == {"teacher": "magenta", "steps": 3}


def test_a_report_has_a_variant_for_each_style(tmp_path):
    section = {"probability": 0.8, "blending_factor": [0.0, 1.0]}
    runs = [
        read_run(write_run(tmp_path / name, {"knn": 0.5}, enabled=True, **config))
        for name, config in {
            "none": {"style": "none"},
            "sassl": {},  # an earlier version's
            "fourier": {"style": "fourier", "fourier": section},
            "strong": {"style": "fourier", "fourier": {**section, "blending_factor": [0.5, 1.0]}},
            "colors": {"style": "color_statistics"},
        }.items()
    ]
    rows = compare(runs)
    assert {row["setting"] for row in rows} == {"simclr"}
    assert [row["variant"] for row in rows] == [
        "baseline",
        "SASSL",
        "color_statistics",
        "fourier, blending_factor=[0.0, 1.0]",
        "fourier, blending_factor=[0.5, 1.0]",
    ]
    assert [row["difference"]["pairs"] for row in rows[1:]] == [1] * 4
