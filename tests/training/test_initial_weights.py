"""Starting from weights that are there, and what is told when they do not fit."""

import shutil

import keras
import numpy as np
import pytest

from sassl_tf.vit import vision_transformer
from tests.test_vit import IMAGES
from training.configs.dino import get_config
from training.encoders import build_encoder
from training.engine.assembly import compiled_method
from training.initial_weights import fingerprint, initialize, vit_of_keras_hub


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The encoder of a pretraining on 32 px, and its workdir."""
    workdir = tmp_path_factory.mktemp("pretrained")
    encoder = build_encoder("vit_micro8", image_size=32)
    encoder.save(workdir / "encoder.keras")
    return encoder, workdir


def test_an_encoder_goes_on_from_another_ones_weights(pretrained):
    encoder, workdir = pretrained
    for source in (workdir, workdir / "encoder.keras"):
        fresh = build_encoder("vit_micro8", image_size=32)
        assert np.abs(fresh(IMAGES) - encoder(IMAGES)).max() > 1e-2
        initialize(fresh, str(source))
        np.testing.assert_array_equal(fresh(IMAGES), encoder(IMAGES))


def test_positions_are_interpolated_for_another_image_size(pretrained):
    encoder, workdir = pretrained
    larger = build_encoder("vit_micro8", image_size=48)
    initialize(larger, str(workdir))
    images = np.random.default_rng(0).random((2, 48, 48, 3), np.float32)
    np.testing.assert_allclose(larger(images), encoder(images), atol=1e-5)


def test_both_networks_of_a_method_start_there(pretrained, tmp_path):
    encoder, workdir = pretrained
    config = get_config("smoke")
    config.encoder.init_from = str(workdir)
    config.encoder.vit.drop_path = 0.1
    method = compiled_method(config, 10, 5)
    for network in (method.encoder, method.student):
        np.testing.assert_array_equal(network(IMAGES), encoder(IMAGES))
    # A run that has a checkpoint does not need the file any more.
    config.encoder.init_from = str(tmp_path / "removed")
    compiled_method(config, 10, 5, begun=True)
    with pytest.raises(ValueError, match=r"^encoder\.init_from: There is no encoder at"):
        compiled_method(config, 10, 5)


def test_the_fingerprint_is_that_of_the_content(pretrained, tmp_path):
    _, workdir = pretrained
    copy = shutil.copy(workdir / "encoder.keras", tmp_path / "copy.keras")
    assert fingerprint(str(workdir)) == fingerprint(str(copy))
    build_encoder("vit_micro8", image_size=32).save(tmp_path / "other.keras")
    assert fingerprint(str(tmp_path / "other.keras")) != fingerprint(str(copy))
    # Nothing is downloaded for that of a hub.
    assert fingerprint("hf://owner/a") != fingerprint("hf://owner/b")
    with pytest.raises(ValueError, match=r"^encoder\.init_from: There is no encoder at"):
        fingerprint(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("vit_micro16", ["patch_projection/kernel: there [8, 8, 3, 64], here [16, 16, 3, 64]"]),
        (
            "vit_tiny8",
            [
                "a vit_micro8 of 38 weights. They do not fit vit_tiny8, which has 198:",
                "patch_projection/kernel: there [8, 8, 3, 64], here [8, 8, 3, 192]",
                "and 33 more such weights",
                "block2_norm1/gamma [192] is only here",
            ],
        ),
        (
            "resnet6_slim",
            ["block0_norm1/gamma [64] is only there", "conv1_bn/gamma [64] is only here"],
        ),
    ],
)
def test_weights_that_do_not_fit_are_listed_and_change_nothing(pretrained, name, told):
    other = build_encoder(name, image_size=32)
    before = other.get_weights()
    with pytest.raises(ValueError, match=f"They do not fit {name}") as error:
        initialize(other, str(pretrained[1]))
    for line in told:
        assert line in str(error.value)
    assert len(str(error.value).splitlines()) <= 20
    for weight, start in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, start)


def keras_hub_vit():
    """The weights of a KerasHub ViTBackbone of the size "micro"."""
    shapes = {
        "vit_patching_and_embedding/class_token": (1, 1, 64),
        "vit_patching_and_embedding/patch_embedding/kernel": (8, 8, 3, 64),
        "vit_patching_and_embedding/patch_embedding/bias": (64,),
        "vit_patching_and_embedding/position_embedding/embeddings": (17, 64),
    }
    for block in (1, 2):
        prefix = f"vit_encoder/transformer_block_{block}"
        shapes |= {f"{prefix}/ln_1/{part}": (64,) for part in ("gamma", "beta")}
        for part in ("query", "key", "value"):
            shapes[f"{prefix}/mha/{part}/kernel"] = (64, 2, 32)
            shapes[f"{prefix}/mha/{part}/bias"] = (2, 32)
        shapes[f"{prefix}/mha/attention_output/kernel"] = (2, 32, 64)
        shapes[f"{prefix}/mha/attention_output/bias"] = (64,)
        shapes |= {f"{prefix}/ln_2/{part}": (64,) for part in ("gamma", "beta")}
        for number, (inputs, outputs) in enumerate(((64, 256), (256, 64)), start=1):
            shapes[f"{prefix}/mlp/dense_{number}/kernel"] = (inputs, outputs)
            shapes[f"{prefix}/mlp/dense_{number}/bias"] = (outputs,)
    shapes |= {f"vit_encoder/ln/{part}": (64,) for part in ("gamma", "beta")}
    return {
        path: 0.1 * np.random.default_rng(number).normal(size=shape) + ("gamma" in path)
        for number, (path, shape) in enumerate(shapes.items())
    }


def test_a_vit_of_keras_hub_has_its_features():
    """By keras_hub.models.ViTBackbone (0.32.0) with these weights: its class token's output."""
    vit = vision_transformer("micro", 8, 32)
    ours = vit_of_keras_hub(keras_hub_vit())
    assert ours.keys() == {weight.path for weight in vit.weights}
    for weight in vit.weights:
        weight.assign(ours[weight.path])
    expected = [
        [-1.337591290473938, 0.9565644264221191, 0.9613711833953857, 1.4644556045532227],
        [-1.57662034034729, -0.3723713755607605, 0.30234163999557495, 1.1700289249420166],
    ]
    np.testing.assert_allclose(vit(IMAGES)[:, :4], expected, atol=1e-5)
    for missing in ("class_token", "position_embedding/embeddings"):
        without = {p: value for p, value in keras_hub_vit().items() if missing not in p}
        with pytest.raises(ValueError, match="no class token"):
            vit_of_keras_hub(without)


def test_a_preset_of_keras_hub(tmp_path):
    """A ViT and a ResNet, saved as presets by KerasHub itself."""
    hub = pytest.importorskip("keras_hub")
    vit = hub.models.ViTBackbone((32, 32, 3), 8, 2, 2, 64, 256)
    vit.save_to_preset(tmp_path / "vit")
    encoder = build_encoder("vit_micro8", image_size=32)
    initialize(encoder, f"keras_hub:{tmp_path / 'vit'}")
    expected = vit(2 * IMAGES - 1)[:, 0]
    np.testing.assert_allclose(encoder(IMAGES), expected, atol=1e-5)

    resnet = hub.models.ResNetBackbone([64], [7], [64, 96], [1, 1], [1, 2], "basic_block")
    resnet.save_to_preset(tmp_path / "resnet")
    encoder = build_encoder("keras_hub:resnet6_slim")
    initialize(encoder, f"keras_hub:{tmp_path / 'resnet'}")
    expected = np.mean(resnet(2 * IMAGES - 1), axis=(1, 2))
    np.testing.assert_allclose(encoder(IMAGES), expected, atol=1e-4)
    with pytest.raises(ConnectionError, match="could not be loaded"):
        initialize(encoder, f"keras_hub:{tmp_path / 'nothing'}")


def unnamed(filters):
    """A network whose layers Keras names, with numbers that count those of the process."""
    layers = [keras.layers.Conv2D(n, 3, padding="same", activation="relu") for n in filters]
    pool = keras.layers.GlobalAveragePooling2D()
    return keras.Sequential([keras.Input((32, 32, 3)), *layers, pool])


def test_layers_without_names_go_by_their_order(tmp_path):
    unnamed([2])  # so that the numbers are others
    trained, fresh = unnamed([4, 8, 8]), unnamed([4, 8, 8])
    trained.save(tmp_path / "own.keras")
    initialize(fresh, str(tmp_path / "own.keras"))
    np.testing.assert_array_equal(fresh(IMAGES), trained(IMAGES))
    with pytest.raises(ValueError, match=r"conv2d/kernel \(3\) \[3, 3, 8, 8\] is only there"):
        initialize(unnamed([4, 8]), str(tmp_path / "own.keras"))
