"""Configs whose values are out of range: all of them are told, before anything starts."""

import math

import numpy as np
import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import commands
from training.command import binary
from training.config_checks.check import check_config, fields
from training.config_checks.fields import FIELDS, METHOD, VIEW
from training.configs import barlow_twins, byol, dino, moco, moco_v3, simclr, simsiam, vicreg
from training.configs.common import PRESETS
from training.engine.loop import pretrain

CONFIGS = [simclr, moco, byol, simsiam, barlow_twins, vicreg, moco_v3, dino]
BAD = {
    "method": ["simcrl", "", "moco"],  # the last is a method, of another config
    "dataset": ["", " "],
    "image_size": [0, -224],
    "local_crops": [-1],
    "local_size": [0],
    "batch_size": [0, -1, 1],
    "accumulate": [0, -2],
    "epochs": [0.0, -1.0, math.nan, math.inf, 1e300],
    "seed": [-1, 2**31, 2**64],
    "encoder.name": [""],
    "encoder.stem": ["cifar10"],
    "encoder.width": [0.0, -1.0, math.nan, math.inf],
    "style": ["sasl", "", "SASSL"],
    "fourier.styles": ["default", "in-batch"],
    "fourier.frequency_share": [0.0, 1.1],
    "color_statistics.color_space": ["hsv"],
    "color_statistics.blending_factor": [(0.3, 0.1)],
    "random_style.probability": [1.1],
    "random_style.stylize_size": [15],
    "encoder.vit.positions": ["sincs"],
    "encoder.vit.pool": ["max"],
    "encoder.vit.heads": [-1],
    "encoder.vit.drop_path": [-0.1, 1.5],
    "sassl.stylizer": [""],
    "sassl.styles": [""],
    "sassl.probability": [1.1, -0.1, math.nan],
    "sassl.blending_factor": [
        (0.3, 0.1),
        (0.1, 1.1),
        (-0.1, 0.1),
        (0.1, 0.2, 0.3),
        (0.1, math.nan),
    ],
    "sassl.interpolation_factor": [(0.3, 0.1)],
    "sassl.blending_factor_end": [(0.3, 0.1), (0.1, 1.1), (0.1,)],
    "fourier.blending_factor_end": [(0.3, math.nan)],
    "sassl.stylize_size": [-1, 15],
    "sassl.encode_size": [1],
    "sassl.precision": ["float16"],
    "views.left.crop_area": [(1.0, 0.08), (0.0, 1.0), (0.5, 1.5), ()],
    "views.right.crop_ratio": [(4 / 3, 3 / 4), (0.0, 1.0), (-1.0, 1.0)],
    "views.left.crop_sampler": ["pil"],
    "views.left.flip_probability": [1.5],
    "views.right.jitter_probability": [-0.5],
    "views.left.jitter_law": [""],
    "views.left.brightness": [-0.1, math.inf],
    "views.left.hue": [0.6, -0.1],
    "views.left.grayscale_probability": [2.0],
    "views.left.blur_probability": [1.01],
    "views.left.blur_sigma": [(2.0, 0.1), (0.0, 1.0)],
    "views.right.solarize_probability": [math.nan],
    "views.left.sassl": ["before"],
    "optimizer.name": ["sgdd"],
    "optimizer.learning_rate": [-0.1, math.nan, math.inf],
    "optimizer.learning_rate_scaling": ["cubic"],
    "optimizer.end_learning_rate": [-0.1, 1.5],
    "optimizer.momentum": [1.1, -0.1],
    "optimizer.weight_decay": [-1e-6],
    "optimizer.warmup_epochs": [-1.0, math.nan],
    "optimizer.vector_rate": [0.0, -1.0],
    "optimizer.end_weight_decay": [-0.1],
    "optimizer.clip_gradient": [-1.0, math.nan],
    "augment_on": ["gpu"],
    "precision": ["float31", "bfloat16", ""],
    "log_every": [-1],
    "checkpoint_every": [-5],
    "keep_checkpoints": [0],
    "keep_checkpoint_every": [-1],
    "knn_every": [-1],
    "simclr.hidden_dim": [0, -1],
    "simclr.projection_dim": [0],
    "simclr.temperature": [0.0, -0.1, math.nan],
}


def changed(**values):
    config = simclr.get_config("smoke")
    with config.ignore_type():
        config.update_from_flattened_dict(values)
    return config


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", CONFIGS)
def test_every_preset_passes_and_has_a_rule_for_every_field(method, preset):
    config = method.get_config(preset)
    check_config(config)
    names = {name for name, _ in fields(config)}
    own = {f"{config.method}.{name}" for name in METHOD[config.method]}
    if method is dino:
        own |= {f"views.local.{name}" for name in VIEW}
    assert names == FIELDS.keys() | own


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_each_bad_value_is_told_with_its_field(name, value):
    with pytest.raises(ValueError, match=f"cannot be run: {name} is ") as error:
        check_config(changed(**{name: value}))
    assert repr(value) in str(error.value) and "\n" not in str(error.value)


@given(st.sets(st.sampled_from(sorted(BAD)), min_size=2), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_all_problems_are_told_at_once_and_nothing_else(names, random):
    with pytest.raises(ValueError) as error:
        check_config(changed(**{name: random.choice(BAD[name]) for name in names}))
    lines = str(error.value).splitlines()[1:]
    assert sorted(line.split()[0] for line in lines) == sorted(names)


@pytest.mark.parametrize("value", [True, "1", None, 1.5, [1]])
def test_types_that_are_no_number(value):
    with pytest.raises(ValueError, match="batch_size is"):
        check_config(changed(batch_size=value))


def test_values_at_the_edges_and_of_numpy_pass():
    edges = {"sassl.probability": 0, "views.left.hue": 0.5, "views.left.crop_area": (1.0, 1.0)}
    numbers = {"seed": 2**31 - 1, "batch_size": np.int64(2), "epochs": np.float64(1)}
    assert check_config(changed(**numbers, **edges)) is None
    others = {
        "sassl.blending_factor": 0.3,
        "sassl.interpolation_factor_end": (0.0, 1.0),
        "optimizer.learning_rate": 0.0,
    }
    assert check_config(changed(**others)) is None


def test_fields_that_are_missing_or_unknown():
    config = simclr.get_config("smoke")
    config.simclr.temprature = 0.5
    del config.views.left["hue"]
    del config["views"]["right"]["hue"]
    with pytest.raises(ValueError) as error:
        check_config(config)
    told = str(error.value)
    assert (
        'simclr.temprature is not a field of a config. Did you mean "simclr.temperature"?' in told
    )
    assert "views.left.hue is missing; expected a number of at least 0" in told
    config = simclr.get_config("smoke")
    config.encoder.name = "keras.applications:MobileNetV2"
    config.encoder.arguments = {"depth": -3}  # the encoder's own affair
    check_config(config)
    config.encoder.name = "keras.applications:MobileNetV77"
    with pytest.raises(ValueError, match="there is no such function"):
        check_config(config)


def test_fields_that_do_not_go_together():
    config = moco.get_config("smoke")
    config.batch_size = 48
    with pytest.raises(ValueError, match=r"moco.queue_size is 128; expected a multiple of .* 48"):
        check_config(config)
    config.moco.queue_size, config.moco.batch_norm_groups = 96, 7
    with pytest.raises(ValueError, match="batch_norm_groups is 7; expected a divisor"):
        check_config(config)
    config = moco.get_config("smoke")
    config.encoder.synchronized_batch_norm = True
    with pytest.raises(ValueError, match="statistics of parts of the batch"):
        check_config(config)
    config = moco.get_config("smoke")
    config.accumulate = 3
    with pytest.raises(ValueError, match=r"accumulate is 3; expected a divisor of batch_size, 32"):
        check_config(config)
    config.accumulate, config.shuffle_window = 4, 16
    with pytest.raises(ValueError, match=r"shuffle_window is 16; .* of batch_size / accumulate, 8"):
        check_config(config)
    config.shuffle_window, config.moco.queue_size = 1, 100
    with pytest.raises(ValueError, match=r"queue_size is 100; .* of batch_size / accumulate, 8"):
        check_config(config)
    config = simsiam.get_config("imagenet")
    config.optimizer.name = "lars"
    with pytest.raises(ValueError, match="constant_for is 'predictor'"):
        check_config(config)
    config = barlow_twins.get_config("imagenet")
    config.optimizer.name = "adamw"
    with pytest.raises(ValueError, match=r"vector_rate is 0\.024"):
        check_config(config)
    config = simclr.get_config("smoke")
    config.encoder.name = "resnet5"
    with pytest.raises(ValueError, match=r"encoder.name is 'resnet5'. Did you mean"):
        check_config(config)
    config.encoder.name, config.encoder.stem = "vit_micro8", "cifar"
    with pytest.raises(ValueError, match=r"encoder.stem and encoder.width are for ResNets"):
        check_config(config)
    config.encoder.stem, config.encoder.vit.heads = "imagenet", 3
    with pytest.raises(ValueError, match=r"encoder.vit.heads is 3; expected a divisor of .* 64"):
        check_config(config)
    config = moco_v3.get_config("smoke")
    config.encoder.name, config.moco_v3.frozen_projection = "resnet6_slim", True
    with pytest.raises(ValueError, match="resnet6_slim has no projection of patches"):
        check_config(config)
    config = simclr.get_config("imagenet")
    config.optimizer.decay_vectors = False
    with pytest.raises(ValueError, match=r"decay_vectors is False, .* 'sgd' or 'adamw' supports"):
        check_config(config)


@pytest.mark.parametrize(
    ("module", "changes", "told"),
    [
        (dino, {"local_size": 4}, "local_size is 4; expected at least 8, a patch of vit_micro8"),
        (dino, {"image_size": 4}, "image_size is 4; expected at least 8"),
        (simclr, {"encoder.vit.drop_path": 0.2}, "drop_path is 0.2, which resnet"),
        (simclr, {"encoder.vit.pool": "mean"}, "pool is 'mean', which resnet"),
        (simclr, {"encoder.vit.heads": 4}, "heads is 4, which resnet"),
        (
            simclr,
            {"views.left.sassl": "none"},
            "style is 'sassl', and no view is stylized.*--config.style=none",
        ),
        (
            simclr,
            {"encoder.name": "tests.evaluation.tiny:tiny_encoder", "encoder.vit.heads": 4},
            "heads is 4, which tests.evaluation.tiny:tiny_encoder",
        ),
        (byol, {"optimizer.name": "adamw", "optimizer.momentum": 0.5}, "momentum is 0.5, which"),
        (
            simclr,
            {"checkpoint_every": 1000, "keep_checkpoint_every": 1500},
            "keep_checkpoint_every is 1500; expected 0 or a multiple of checkpoint_every, 1000",
        ),
        (
            simclr,
            {"checkpoint_every": 0, "keep_checkpoint_every": 1000},
            "keep_checkpoint_every is 1000; expected 0: checkpoint_every is 0",
        ),
    ],
)
def test_settings_that_could_do_nothing(module, changes, told):
    config = module.get_config("smoke")
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=told):
        check_config(config)


def test_style_may_be_in_the_small_crops_alone():
    config = dino.get_config("smoke")
    config.views.left.sassl = config.views.right.sassl = "none"
    config.views.local.sassl = "before_jitter"
    check_config(config)
    config.local_crops = 0
    with pytest.raises(ValueError, match=r"no view is stylized: views\.left\.sassl and"):
        check_config(config)
    config.sassl.enabled = False  # the switch of before
    check_config(config)


def test_small_crops_need_a_method_for_them():
    config = simclr.get_config("smoke")
    config.local_crops = 4
    with pytest.raises(ValueError, match="local_crops is 4, which only method dino has a loss for"):
        check_config(config)
    config = dino.get_config("smoke")
    config.views.local.hue = 2.0
    with pytest.raises(ValueError, match=r"views.local.hue is 2\.0"):
        check_config(config)


def test_nothing_starts_with_a_bad_config(tmp_path):
    with pytest.raises(ValueError, match="batch_size is 0"):
        pretrain(changed(batch_size=0), tmp_path / "run", strategy="no strategy")
    assert not (tmp_path / "run").exists()


FLAGS = ["--workdir=", "--workdir= ", "--datasets=", "--datasets=a,", "--images="]


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_with_an_empty_value(flag, monkeypatch):
    values = flags.FlagValues()
    for name in ("workdir", "images", "other"):
        flags.DEFINE_string(name, None, f"The {name}.", flag_values=values)
    flags.DEFINE_list("datasets", "a,b", "The datasets.", flag_values=values)
    flags.DEFINE_string("tpu", "", "Of the TPU.", flag_values=values)
    monkeypatch.setattr(binary.flags, "FLAGS", values)
    values(["program", "--tpu=", "--other=x"])
    binary._check_no_flag_is_empty()  # the default of --tpu is empty, and --other is not
    values(["program", flag])
    name = flag.strip("-").partition("=")[0]
    with pytest.raises(flags.Error, match=f"--{name} has an empty value. Expected: The {name}"):
        binary._check_no_flag_is_empty()


@pytest.mark.parametrize(
    ("module", "flag", "others"),
    [
        ("training.pretrain", "--workdir=", ["--config=training/configs/simclr.py:smoke"]),
        ("evaluation.transfer", "--datasets=", ["--encoder=x"]),
        pytest.param(
            "evaluation.transfer",
            "--protocols=",
            ["--encoder=x", "--datasets=shapes"],
            marks=pytest.mark.slow,
        ),
        pytest.param("evaluation.style_map", "--datasets=", [], marks=pytest.mark.slow),
        pytest.param(
            "evaluation.knn",
            "--workdir=",
            ["--encoder=x", "--dataset=shapes"],
            marks=pytest.mark.slow,
        ),
        pytest.param("evaluation.alpha_beta_grid", "--images=", [], marks=pytest.mark.slow),
        pytest.param(
            "training.build_style_bank", "--images=", ["--output=x.npz"], marks=pytest.mark.slow
        ),
    ],
)
def test_binaries_refuse_flags_that_are_given_nothing(module, flag, others):
    done = commands.run(module, *others, flag)
    assert done.returncode == 1 and f"{flag[:-1]} has an empty value" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
