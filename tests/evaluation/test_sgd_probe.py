"""The SGD probe: the recipes' numbers, the descent by hand in NumPy, and finished trials."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from evaluation import sgd_probe as module
from evaluation.sgd_classifier import Recipe, train_classifier
from evaluation.sgd_probe import (
    RECIPES,
    Settings,
    fitting_batch_size,
    recipe_of,
)
from evaluation.subject import load_subject
from evaluation.training_batches import training_batches
from sassl_tf.checked import read_json
from sassl_tf.datasets import load_dataset
from tests import commands
from tests.evaluation.tiny import tiny_encoder, write_class_folders
from training.methods import METHODS

FEW = {"epochs": 4, "batch_size": 8, "initial": "normal"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path / "cache"))
    write_class_folders(tmp_path / "data")
    tiny_encoder().save(tmp_path / "encoder.keras")
    (tmp_path / "config.json").write_text(json.dumps({"image_size": 16, "method": "moco"}))
    return tmp_path


def evaluate(run, extract_batch_size=128, **settings):
    spec = f"folder:{run / 'data'}"
    subject = load_subject(run, spec, extract_batch_size=extract_batch_size)
    return module.run(subject, Settings(**settings))


def test_the_sources_numbers():
    numbers = {name: dataclasses.astuple(recipe)[:5] for name, recipe in RECIPES.items()}
    assert numbers == {
        "simclr": (90, 4096, 0.1, "cosine", "zeros"),
        "moco": (100, 256, 30.0, "steps", "normal"),
        "byol": (80, 1024, 0.2, "cosine", "fan_in"),
        "simsiam": (100, 256, 30.0, "steps", "normal"),
        "barlow_twins": (100, 256, 0.3, "plain_cosine", "normal"),
        "vicreg": (100, 256, 0.02, "plain_cosine", "normal"),
        "moco_v3": (90, 1024, 3.0, "plain_cosine", "normal"),
        "moco_v3_resnet": (90, 1024, 0.1, "plain_cosine", "normal"),
        "dino": (100, 1024, 0.001, "plain_cosine", "normal"),
        "dino_resnet": (100, 256, 0.3, "plain_cosine", "normal"),
    }
    assert {name.removesuffix("_resnet") for name in numbers} == set(METHODS)  # each has one


def test_the_batch_fits_the_dataset():
    assert fitting_batch_size(4096, 1_281_167) == 4096
    assert fitting_batch_size(4096, 6500) == 512  # 12 steps an epoch
    assert fitting_batch_size(256, 3) == 1


def test_the_recipe_is_that_of_the_method(run):
    assert recipe_of(run) == recipe_of(run / "encoder.keras") == "moco"
    tiny_encoder().save(run / "data" / "alone.keras")
    with pytest.raises(ValueError, match="--recipe, one of simclr, moco"):
        recipe_of(run / "data" / "alone.keras")


@pytest.mark.parametrize(
    ("method", "encoder", "recipe"),
    [
        ("dino", "vit_small16", "dino"),
        ("dino", "resnet50", "dino_resnet"),
        ("moco_v3", "vit_tiny8", "moco_v3"),
        ("moco_v3", "keras_hub:resnet18", "moco_v3_resnet"),
        ("byol", "resnet50", "byol"),
    ],
)
def test_the_recipe_is_that_of_the_kind_of_encoder(run, method, encoder, recipe):
    content = {"image_size": 16, "method": method, "encoder": {"name": encoder}}
    (run / "config.json").write_text(json.dumps(content))
    assert recipe_of(run) == recipe


@pytest.mark.parametrize("schedule", ["cosine", "plain_cosine", "steps"])
def test_the_descent_is_that_of_the_sources_by_hand(run, schedule):
    recipe = Recipe(learning_rate=3.0, schedule=schedule, **FEW)
    dataset, encoder = load_dataset(f"folder:{run / 'data'}"), tiny_encoder()
    head = train_classifier(encoder, dataset, recipe, 16, seed=1, chunk=4)

    steps, rate = 15, 3.0 * 8 / 256  # 4 epochs of 30 images
    start = keras.initializers.RandomNormal(stddev=0.01, seed=1)((6, 3))
    weights = np.concatenate([np.asarray(start, np.float64), np.zeros((1, 3))])  # and biases
    velocity = np.zeros_like(weights)
    batches = training_batches(dataset, 16, 8, 1).take(steps).as_numpy_iterator()
    for step, (images, labels) in enumerate(batches):
        features = np.asarray(encoder(images, training=False), np.float64)
        features = np.concatenate([features, np.ones((8, 1))], axis=1)
        scores = np.exp(features @ weights)
        error = scores / scores.sum(axis=1, keepdims=True) - np.eye(3)[labels]
        gradient = features.T @ error / 8
        if schedule == "cosine":  # Nesterov's momentum, the rate within the velocity
            now = rate * (1 + np.cos(np.pi * step / steps)) / 2
            velocity = 0.9 * velocity - now * gradient
            weights += 0.9 * velocity - now * gradient
        else:  # PyTorch's; with steps, a tenth from 60 % and from 80 % on
            now = rate / (1 if step < 9 else 10 if step < 12 else 100)
            if schedule == "plain_cosine":
                now = rate * (1 + np.cos(np.pi * step / steps)) / 2
            velocity = 0.9 * velocity + gradient
            weights -= now * velocity
    np.testing.assert_allclose(head.kernel, weights[:-1], atol=1e-4)
    np.testing.assert_allclose(head.bias, weights[-1], atol=1e-4)


def test_trials_and_what_is_written(run, monkeypatch):
    before = (run / "encoder.keras").read_bytes()
    result = evaluate(run, trials=3, epochs=10, extract_batch_size=4)
    assert result["recipe"] == "moco" and result["learning_rate"] == 30.0
    assert result["trials"] == 3 and len(result["values"]["accuracy"]) == 3
    assert result["accuracy"] > 0.8
    assert result["std"]["accuracy"] == pytest.approx(
        np.std(result["values"]["accuracy"], ddof=1), abs=1e-12
    )
    [file] = run.glob("sgd_probe-folder-*.json")
    assert read_json(file) == json.loads(json.dumps(result))
    assert (run / "encoder.keras").read_bytes() == before
    # The three trials that there are stay; the fourth alone is trained.
    trained = []

    def counting(encoder, dataset, recipe, image_size, seed, chunk):
        trained.append(seed)
        return train_classifier(encoder, dataset, recipe, image_size, seed, chunk)

    monkeypatch.setattr(module, "train_classifier", counting)
    more = evaluate(run, trials=4, epochs=10, extract_batch_size=4)
    assert trained == [3] and more["values"]["accuracy"][:3] == result["values"]["accuracy"]


def test_test_images_choose_nothing(run, monkeypatch):
    """By construction: what trains gets the train images, and nothing of the test split."""
    given = []

    def training(encoder, dataset, *arguments):
        given.append(dataset)
        return train_classifier(encoder, dataset, *arguments)

    monkeypatch.setattr(module, "train_classifier", training)
    evaluate(run, trials=1, epochs=1)
    train = load_dataset(f"folder:{run / 'data'}", "train")
    assert [dataset.fingerprint for dataset in given] == [train.fingerprint]


def test_bad_input(run):
    with pytest.raises(ValueError, match="no recipe 'swav'"):
        evaluate(run, recipe="swav")
    with pytest.raises(ValueError, match=r"diverged at learning rate inf.*--learning_rate"):
        evaluate(run, trials=1, epochs=3, learning_rate=float("inf"))
    with pytest.raises(ValueError, match="epochs is 0; expected a number greater"):
        evaluate(run, epochs=0.0)
    with pytest.raises(TypeError, match="epoch"):
        evaluate(run, epoch=3)


def test_an_encoder_that_changes_is_refused(run):
    class Counting(keras.layers.Layer):
        def build(self, shape):
            self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, inputs):
            self.seen.assign_add(1.0)
            return inputs

    inputs = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(Counting()(inputs))
    model = keras.Model(inputs, pooled)
    with keras.saving.custom_object_scope({"Counting": Counting}):
        model.save(run / "encoder.keras")
        for _ in range(2):  # nor is it taken the second time, for what was done the first
            with pytest.raises(ValueError, match="in inference mode"):
                evaluate(run, trials=1, epochs=1)


def test_the_binary(run):
    flags = [f"--encoder={run}", f"--dataset=folder:{run / 'data'}", "--trials=2"]
    done = commands.run("evaluation.sgd_probe", *flags, "--recipe=byol", "--epochs=20")
    assert "2 trials of byol's recipe: 20 epochs, batch 2; 12 test images" in done.stdout, (
        done.stderr
    )
