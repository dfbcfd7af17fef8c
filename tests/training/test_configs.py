"""Every preset builds, and SASSL is one switch."""

import json

import numpy as np
import pytest
import tensorflow as tf

from evaluation.sgd_probe import RECIPES
from tests.training.test_simclr import tiny_encoder, views
from training.config_checks.check import check_config
from training.configs import barlow_twins, byol, dino, moco, moco_v3, simclr, simsiam, vicreg
from training.configs.common import PRESETS
from training.engine import assembly
from training.engine.assembly import compiled_method
from training.optimizers import peak_learning_rate
from training.styles import build_augmentation

CONFIGS = [simclr, moco, byol, simsiam, barlow_twins, vicreg, moco_v3, dino]


@pytest.mark.parametrize("method", CONFIGS)
@pytest.mark.parametrize("preset", PRESETS)
def test_presets(method, preset):
    config = method.get_config(preset)
    assert method.__name__.endswith(config.method) and config.method in config
    json.loads(config.to_json())
    assert config.views.left.sassl == "before_jitter"
    assert config.views.right.sassl == ("before_jitter" if method is dino else "none")
    assert method is not dino or config.views.local.sassl == "none"
    augment = build_augmentation(config)
    assert (augment.probability, augment.value_range) == (0.8, (0, 1))
    assert augment.blending_factor == augment.interpolation_factor == (0.1, 0.3)
    config.sassl.enabled = False
    assert build_augmentation(config) is None


@pytest.mark.parametrize("method", CONFIGS)
def test_the_smoke_preset_takes_a_step(method, monkeypatch):
    """With a small encoder and in eager mode; `make test-all` runs the whole presets."""
    monkeypatch.setattr(assembly, "build_encoder", lambda **_: tiny_encoder())
    config = method.get_config("smoke")
    config.optimizer.warmup_epochs = 0.0  # else the first step has a learning rate of 0
    if config.method == "moco_v3":
        config.moco_v3.frozen_projection = False
    trained = compiled_method(config, 12, 4)
    before = trained.encoder.get_weights()
    batch = {side: tf.constant(view) for side, view in views(4).items()}
    if config.local_crops:
        batch["local"] = tf.stack([batch["left"]] * config.local_crops, axis=1)
    seen = []
    # A run on labelled images shows the features of a view to the online probe.
    scalars = trained.train_step(batch, lambda features: seen.append(features.shape) or {})
    assert seen == [(4, trained.encoder.output_shape[-1])]
    assert {"spread", "uniformity"} & scalars.keys()
    assert all(np.isfinite(value) for value in scalars.values())
    after = trained.encoder.get_weights()
    assert all(np.any(w != start) for w, start in zip(after, before, strict=True))


def test_the_papers_numbers():
    config = simclr.get_config("imagenet")
    assert (config.batch_size, config.optimizer.learning_rate) == (4096, 0.3)
    assert (config.simclr.temperature, config.encoder.name) == (0.1, "resnet50")
    cifar = simclr.get_config("cifar10")
    assert cifar.encoder.stem == "cifar" and cifar.views.left.blur_probability == 0
    assert (cifar.simclr.temperature, cifar.simclr.hidden_dim) == (0.5, 512)
    assert (cifar.views.left.brightness, cifar.views.left.hue) == (0.4, 0.1)
    assert cifar.optimizer.vector_rate == 2


def test_the_papers_numbers_of_the_others():
    config = moco.get_config("imagenet")
    assert (config.batch_size, config.epochs, config.optimizer.name) == (256, 200, "sgd")
    assert (config.moco.queue_size, config.moco.momentum, config.moco.temperature) == (
        65536,
        0.999,
        0.2,
    )
    view = config.views.left
    assert (view.crop_area, view.crop_sampler) == ((0.2, 1.0), "torchvision")
    assert view.jitter_law == "torchvision" and view.hue == 0.1
    config = byol.get_config("imagenet")
    assert (config.epochs, config.optimizer.learning_rate, config.byol.base_momentum) == (
        1000,
        0.2,
        0.996,
    )
    left, right = config.views.left, config.views.right
    assert left.jitter_law == right.jitter_law == "byol"
    assert left.crop_sampler == right.crop_sampler == RECIPES["byol"].crop_sampler == "byol"
    assert (left.blur_probability, right.blur_probability) == (1.0, 0.1)
    assert (left.solarize_probability, right.solarize_probability) == (0.0, 0.2)


def test_the_papers_numbers_of_barlow_twins_and_vicreg():
    barlow, vic = barlow_twins.get_config("imagenet"), vicreg.get_config("imagenet")
    for config in (barlow, vic):
        assert (config.batch_size, config.epochs, config.optimizer.name) == (2048, 1000, "lars")
        assert config.optimizer.end_learning_rate == 0.001
        left, right = config.views.left, config.views.right
        assert left.crop_sampler == left.jitter_law == "torchvision"
        assert (left.blur_probability, right.blur_probability) == (1.0, 0.1)
        assert (left.solarize_probability, right.solarize_probability) == (0.0, 0.2)
        widths = config[config.method].hidden_dim, config[config.method].projection_dim
        assert widths == (8192, 8192)
    assert barlow.barlow_twins.redundancy_weight == 0.0051
    rate = barlow.optimizer.learning_rate
    assert rate * barlow.optimizer.vector_rate == pytest.approx(0.0048)
    weights = [vic.vicreg[f"{name}_weight"] for name in ("invariance", "variance", "covariance")]
    assert weights == [25, 25, 1]


def test_the_papers_numbers_of_moco_v3():
    config = moco_v3.get_config("imagenet")
    assert (config.batch_size, config.epochs, config.encoder.name) == (4096, 300, "vit_small16")
    assert (config.encoder.vit.positions, config.encoder.vit.heads) == ("sincos", 12)
    section = config.moco_v3
    assert (section.hidden_dim, section.projection_dim, section.projector_layers) == (4096, 256, 3)
    assert (section.temperature, section.base_momentum) == (0.2, 0.99)
    assert section.predictor_batch_norm and section.frozen_projection
    assert config.views.left.crop_area == (0.08, 1.0) and config.optimizer.decay_vectors
    config = moco_v3.get_config("imagenet_resnet50")
    assert (config.epochs, config.encoder.name) == (100, "resnet50")
    assert (config.moco_v3.temperature, config.moco_v3.projector_layers) == (1.0, 2)
    assert not (config.moco_v3.predictor_batch_norm or config.moco_v3.frozen_projection)
    assert config.views.left.crop_area == config.views.right.crop_area == (0.2, 1.0)
    check_config(config)


def test_the_papers_numbers_of_dino():
    config = dino.get_config("imagenet")
    assert (config.batch_size, config.epochs, config.encoder.name) == (512, 100, "vit_small16")
    assert (config.local_crops, config.image_size, config.local_size) == (8, 224, 96)
    assert config.views.left.crop_area == config.views.right.crop_area == (0.4, 1.0)
    assert config.views.local.crop_area == (0.05, 0.4)
    blurs = [config.views[name].blur_probability for name in ("left", "right", "local")]
    assert blurs == [1.0, 0.1, 0.5] and config.views.local.solarize_probability == 0
    section = config.dino
    assert (section.prototypes, section.hidden_dim, section.bottleneck_dim) == (65536, 2048, 256)
    assert (section.base_momentum, section.center_momentum) == (0.996, 0.9)
    assert (section.student_temperature, section.teacher_temperature) == (0.1, 0.04)
    optimizer = config.optimizer
    assert (optimizer.end_weight_decay, optimizer.clip_gradient) == (0.4, 3.0)
    assert not optimizer.decay_vectors and config.encoder.vit.drop_path == 0.1
    peak = peak_learning_rate(optimizer.learning_rate, "linear", 512)
    assert peak * optimizer.end_learning_rate == pytest.approx(1e-6)
    of_resnet = dino.get_config("imagenet_resnet50")
    check_config(of_resnet)
    assert of_resnet.views.local.crop_area == (0.05, 0.14)


def test_the_papers_numbers_of_simsiam(monkeypatch):
    monkeypatch.setattr(assembly, "build_encoder", lambda **_: tiny_encoder())
    config = simsiam.get_config("imagenet")
    assert (config.batch_size, config.epochs, config.optimizer.learning_rate) == (512, 100, 0.05)
    assert (config.simsiam.hidden_dim, config.simsiam.projection_dim) == (512, 2048)
    method = compiled_method(config, 100, 10)
    rates = method.optimizer
    held = [v.path for v in method.trainable_variables if rates.constant_for in v.path]
    assert len(held) == 5 and rates.constant_rate == 0.05 * 2


@pytest.mark.parametrize(
    ("method", "preset", "peak", "weight_decay", "warmup"),
    [
        # Chen et al. 2020: 0.3·4096/256; google-research/simclr, README: 1.0, times 512/256.
        (simclr, "imagenet", 4.8, 1e-6, 10),
        (simclr, "cifar10", 2.0, 1e-4 / 2, 10),  # its loss is half of the source's
        # facebookresearch/moco; lightly: 0.06·512/128.
        (moco, "imagenet", 0.03, 1e-4, 0),
        (moco, "cifar10", 0.24, 5e-4, 0),
        # Grill et al. 2020: 0.2·4096/256.
        (byol, "imagenet", 3.2, 1.5e-6, 10),
        # Chen & He 2020: 0.05·512/256; appendix D: 0.03·512/256.
        (simsiam, "imagenet", 0.1, 1e-4, 0),
        (simsiam, "cifar10", 0.06, 5e-4, 0),
        # facebookresearch/barlowtwins and facebookresearch/vicreg: 0.2·2048/256.
        (barlow_twins, "imagenet", 1.6, 1e-6, 10),
        (vicreg, "imagenet", 1.6, 1e-6, 10),
        # facebookresearch/moco-v3, CONFIG.md: 1.5e-4·4096/256 and 0.6·4096/256.
        (moco_v3, "imagenet", 2.4e-3, 0.1, 40),
        (moco_v3, "imagenet_resnet50", 9.6, 1e-6, 10),
        # facebookresearch/dino: 5e-4·512/256, and 0.03·512/256 for ResNet-50.
        (dino, "imagenet", 1e-3, 0.04, 10),
        (dino, "imagenet_resnet50", 0.06, 1e-4, 10),
    ],
)
def test_the_papers_learning_rates(method, preset, peak, weight_decay, warmup):
    config = method.get_config(preset)
    optimizer = config.optimizer
    scaling = optimizer.learning_rate_scaling
    found = peak_learning_rate(optimizer.learning_rate, scaling, config.batch_size)
    assert found == pytest.approx(peak)
    assert (optimizer.weight_decay, optimizer.warmup_epochs) == (weight_decay, warmup)


def test_unknown_preset():
    with pytest.raises(ValueError, match="smoke, demo, cifar10"):
        simclr.get_config("imagenete")


def test_the_initial_weights_are_the_same_with_and_without_sassl():
    methods = []
    for enabled in (False, True):
        config = simclr.get_config("smoke")
        config.sassl.enabled = enabled
        build_augmentation(config)  # draws a seed of its own
        methods.append(compiled_method(config, 10, 5))
    assert methods[0].temperature == config.simclr.temperature
    assert methods[0].projector.output_shape == (None, 32)
    for without, with_sassl in zip(*(m.get_weights() for m in methods), strict=True):
        np.testing.assert_array_equal(without, with_sassl)
