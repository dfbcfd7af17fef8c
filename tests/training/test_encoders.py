"""Encoders: ResNets in all their forms, vision transformers, and models of one's own."""

import zipfile

import keras
import numpy as np
import pytest

from training.encoders import build_encoder

IMAGES = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)


def feature_maps(encoder):
    backbone = next(layer for layer in encoder.layers if isinstance(layer, keras.Model))
    return backbone(IMAGES)


@pytest.mark.parametrize(("stem", "side"), [("imagenet", 1), ("cifar", 4)])
@pytest.mark.parametrize("name", ["resnet18", "resnet18v2"])
def test_stems(name, stem, side):
    """At 32 px the stages end at 1×1 and 4×4, which the pooling hides: look before it."""
    encoder = build_encoder(name, stem, width=0.25)
    assert feature_maps(encoder).shape == (2, side, side, 128)
    assert encoder(IMAGES).shape == (2, 128)


def test_the_encoder_takes_unit_images():
    """[0, 1] goes in, [-1, 1] reaches the backbone."""
    rescaling = build_encoder("resnet10_slim").get_layer("rescaling")
    np.testing.assert_allclose(rescaling(np.float32([0, 0.5, 1])), [-1, 0, 1])


@pytest.mark.parametrize(
    ("name", "parameters"),
    # torchvision's counts without the classifier.
    [
        ("resnet18", 11_176_512),
        pytest.param("resnet34", 21_284_672, marks=pytest.mark.slow),
        ("resnet50", 23_508_032),
    ],
)
def test_they_have_the_papers_parameters(name, parameters):
    encoder = build_encoder(name)
    # KerasCV's basic block projects in no first stage, its bottleneck does, as the paper's.
    assert sum(np.prod(v.shape) for v in encoder.trainable_variables) == parameters


@pytest.mark.parametrize("name", ["resnet18", "resnet18v2"])
def test_width(name):
    narrow, wide = build_encoder(name, width=0.25), build_encoder(name, width=0.5)
    assert wide.output_shape[-1] == 2 * narrow.output_shape[-1]
    kernels = [w.trainable_variables[0].shape for w in (narrow, wide)]  # of the stem
    assert [kernel[-1] for kernel in kernels] == [16, 32]
    assert wide(IMAGES).shape == (2, wide.output_shape[-1])


@pytest.mark.parametrize("name", ["resnet10", "resnet50"])
def test_a_block_may_start_as_the_identity(name):
    """After the first block with zero γ there is only its shortcut, through the ReLU."""
    gammas = [
        variable
        for variable in build_encoder(name, width=0.25, zero_init_residual=True).trainable_variables
        if "gamma" in variable.path
    ]
    zeros = [g for g in gammas if np.all(g.numpy() == 0)]
    assert len(zeros) == {"resnet10": 4, "resnet50": 16}[name]  # one a block
    assert all("bn/gamma" in g.path for g in zeros)
    plain = build_encoder(name, width=0.25).trainable_variables
    assert all(np.all(g.numpy() == 1) for g in plain if "gamma" in g.path)


def test_batch_normalization_is_that_of_the_sources():
    (backbone,) = [m for m in build_encoder("resnet10_slim").layers if isinstance(m, keras.Model)]
    norms = [m for m in backbone.layers if isinstance(m, keras.layers.BatchNormalization)]
    assert norms and {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}


def test_it_loads_as_plain_keras(tmp_path):
    encoder = build_encoder("resnet18v2", "cifar", width=0.25)
    encoder.save(tmp_path / "encoder.keras")
    again = keras.saving.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(again(IMAGES), encoder(IMAGES))


def test_a_vision_transformer():
    """Scaled as a ResNet, with positions for the size of the images."""
    options = {"positions": "sincos", "pool": "token", "heads": 4, "drop_path": 0.1}
    encoder = build_encoder("vit_micro8", vit=options, image_size=32)
    (vit,) = [layer for layer in encoder.layers if isinstance(layer, keras.Model)]
    np.testing.assert_allclose(encoder(IMAGES), vit(2 * IMAGES - 1), atol=1e-6)
    assert vit.get_layer("positions").grid == (4, 4)
    assert vit.get_layer("block0_attention").num_heads == 4
    assert encoder.name == "vit_micro8" and encoder.output_shape == (None, 64)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_resnets_of_keras_hub(name, tmp_path):
    """They have as many weights as KerasCV's, and load as plain Keras."""
    pytest.importorskip("keras_hub")
    options = {"stem": "cifar", "width": 0.25, "zero_init_residual": True}
    encoder, of_keras_cv = (build_encoder(n, **options) for n in (f"keras_hub:{name}", name))
    assert encoder.count_params() == of_keras_cv.count_params() and encoder.name == name
    assert feature_maps(encoder).shape == feature_maps(of_keras_cv).shape
    gammas = [v for v in encoder.trainable_variables if "gamma" in v.path]
    zeros = sum(np.all(gamma.numpy() == 0) for gamma in gammas)
    assert zeros == {"resnet18": 8, "resnet50": 16}[name]
    encoder.save(tmp_path / "encoder.keras")
    config = zipfile.ZipFile(tmp_path / "encoder.keras").read("config.json").decode()
    assert "keras_hub" not in config
    again = keras.saving.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(again(IMAGES), encoder(IMAGES))


def of_ones_own(units=5):
    images = keras.Input((32, 32, 3))
    return keras.Model(images, keras.layers.Conv2D(units, 3)(images))


def with_another_input():
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])


def no_model():
    return "nothing"


def test_a_model_by_its_import_path():
    path = f"{__name__}:of_ones_own"
    keras.utils.set_random_seed(0)
    encoder = build_encoder(path)
    assert encoder.output_shape == (None, 5) and encoder.name == "of_ones_own"
    keras.utils.set_random_seed(0)
    expected = np.mean(of_ones_own()(IMAGES), axis=(1, 2))
    np.testing.assert_allclose(encoder(IMAGES), expected, atol=1e-5)
    assert build_encoder(path, arguments={"units": 7}).output_shape == (None, 7)


def test_a_model_of_keras_applications():
    encoder = build_encoder(
        "keras.applications:MobileNetV3Small",
        arguments={
            "include_top": False,
            "weights": None,
            "include_preprocessing": False,
            "input_shape": (32, 32, 3),
        },
    )
    features = encoder(IMAGES)
    assert features.shape == (2, 576) and np.any(features[0] != features[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet19"}, "resnet18"),
        ({"name": "resnet10_slimv2"}, "resnet101v2"),
        ({"name": "vit_small_16"}, 'Did you mean "vit_small16"'),
        ({"name": "keras_hub:resnet5"}, "There are resnet18"),
        ({"name": "vit_micro8", "stem": "cifar"}, "are for ResNets, not for vit_micro8"),
        ({"name": "vit_micro8", "image_size": 4}, "image_size is 4"),
        ({"name": "resnet18", "stem": "stem"}, "imagenet"),
        ({"name": "resnet18", "arguments": {"units": 3}}, "are for module:function"),
        ({"name": "no.such.module:build"}, "No module named 'no'"),
        ({"name": "keras.applications:ResNet0"}, "has no attribute 'ResNet0'"),
        ({"name": f"{__name__}:of_ones_own", "arguments": {"unit": 3}}, "could not be called"),
        ({"name": "keras.applications:resnet50"}, "could not be called"),
        ({"name": f"{__name__}:of_ones_own", "width": 2.0}, "are for ResNets"),
        ({"name": f"{__name__}:with_another_input"}, r"expected images \[B, H, W, 3\]"),
        ({"name": f"{__name__}:no_model"}, "returned str"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(**arguments)
