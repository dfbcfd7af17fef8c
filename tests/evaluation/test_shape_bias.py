"""Shape bias: counts by hand, categories, and encoders that see only one of the two cues."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from evaluation.results import earlier_result
from evaluation.shape_bias import (
    CATEGORIES,
    Settings,
    category_labels,
    cue_conflict_images,
    run,
    shape_bias,
)
from evaluation.subject import load_subject
from sassl_tf.datasets import load_dataset
from tests import commands


def test_counts_by_hand():
    found = shape_bias(
        ["cat", "dog", "car", "dog", "car"],  # shape, texture, neither, shape, neither
        ["cat", "cat", "cat", "dog", "dog"],
        ["dog", "dog", "dog", "cat", "cat"],
    )
    assert (found["shape_decisions"], found["texture_decisions"]) == (2, 1)
    assert found["other_decisions"] == 2 and found["shape_bias"] == pytest.approx(2 / 3)
    assert found["by_category"]["cat"]["shape_bias"] == 0.5
    assert found["by_category"]["dog"]["shape_bias"] == 1.0
    assert shape_bias(["car"], ["cat"], ["dog"])["shape_bias"] is None


def test_imagenets_categories():
    """As many classes as the source's table of indices has, and no class in two of them.

    Its list of dogs has 110 ids, of which n08825211 is of no class of ImageNet.
    """
    categories = json.loads(CATEGORIES.read_text())
    ids = {n: [c for c in classes if c.startswith("n0")] for n, classes in categories.items()}
    assert {name: len(classes) for name, classes in ids.items()} == {
        "airplane": 1,
        "bear": 4,
        "bicycle": 2,
        "bird": 49,
        "boat": 5,
        "bottle": 7,
        "car": 3,
        "cat": 6,
        "chair": 4,
        "clock": 3,
        "dog": 109,
        "elephant": 2,
        "keyboard": 2,
        "knife": 1,
        "oven": 1,
        "truck": 8,
    }
    classes = [wnid for names in categories.values() for wnid in names]
    assert len(set(classes)) == len(classes)
    cifar10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship"]
    _, found = category_labels(np.arange(10), [*cifar10, "truck"], categories)
    assert found.tolist() == ["airplane", "car", "bird", "cat", "dog", "boat", "truck"]


def test_classes_become_categories():
    labels = np.array([0, 1, 2, 3, 1])
    names = ["beagle", "pug", "tabby", "tree"]
    members, found = category_labels(labels, names, {"dog": ["beagle", "pug"], "cat": ["tabby"]})
    assert members.tolist() == [0, 1, 2, 4] and found.tolist() == ["dog", "dog", "cat", "dog"]
    with pytest.raises(ValueError, match=r"the dataset has \['dog'\]; two or more are needed"):
        category_labels(labels, names, {"dog": ["pug"], "cat": ["lion"]})


@pytest.fixture
def data(tmp_path):
    """Bars are "cat" where they lie and "dog" where they stand; cats are red and dogs are blue."""

    def picture(shape, texture, shift):
        pixels = np.zeros((16, 16, 3), np.uint8)
        if shape == "cat":
            pixels[4 + shift : 8 + shift] = 200
        else:
            pixels[:, 4 + shift : 8 + shift] = 200
        return Image.fromarray(pixels * np.uint8([[texture == "cat", 0, texture == "dog"]]))

    for split, shifts in (("train", range(8)), ("test", range(2))):
        for name, label in (("tabby", "cat"), ("pug", "dog")):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for shift in shifts:
                picture(label, label, shift).save(folder / f"{shift}.png")
    for shape, texture in (("cat", "dog"), ("dog", "cat"), ("cat", "cat")):
        folder = tmp_path / "cues" / shape
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, 5):
            picture(shape, texture, number).save(folder / f"{shape}{number}-{texture}1.png")
    (tmp_path / "cues" / "MANIFEST.csv").write_text("file\n")
    (tmp_path / "categories.json").write_text(json.dumps({"cat": ["tabby"], "dog": ["pug"]}))
    return tmp_path


def seeing(cue):
    """An encoder of the colours alone, or of the direction of edges alone."""
    images = keras.Input((16, 16, 3))
    if cue == "texture":
        x = keras.layers.GlobalAveragePooling2D()(images)
    else:
        grey = keras.ops.sum(images, axis=-1)
        x = keras.ops.stack(
            [
                keras.ops.mean(keras.ops.abs(grey[:, 1:] - grey[:, :-1]), axis=(1, 2)),
                keras.ops.mean(keras.ops.abs(grey[:, :, 1:] - grey[:, :, :-1]), axis=(1, 2)),
            ],
            axis=-1,
        )
    return keras.Model(images, x)


@pytest.mark.parametrize(("cue", "expected"), [("shape", 1.0), ("texture", 0.0)])
def test_an_encoder_that_sees_one_cue(data, cue, expected):
    seeing(cue).save(data / "encoder.keras")
    spec, workdir = f"folder:{data / 'data'}", data / "out"
    subject = load_subject(data / "encoder.keras", spec, workdir=workdir)
    result = run(subject, Settings(str(data / "cues"), str(data / "categories.json")))
    assert result["shape_bias"] == expected and result["cue_conflict_images"] == 8
    [file] = (data / "out").glob("shape_bias-*.json")
    assert json.loads(file.read_text())["by_category"]["dog"]["shape_bias"] == expected


def test_other_images_or_categories_are_another_evaluation(data):
    seeing("shape").save(data / "encoder.keras")
    subject = load_subject(data / "encoder.keras", f"folder:{data / 'data'}", workdir=data / "out")
    settings = Settings(str(data / "cues"), str(data / "categories.json"))
    assert earlier_result(subject, settings) is None
    result = run(subject, settings)
    assert earlier_result(subject, settings) == result
    shutil.copytree(data / "cues", data / "elsewhere")
    elsewhere = Settings(str(data / "elsewhere"), str(data / "categories.json"))
    assert earlier_result(subject, elsewhere) == result
    (data / "elsewhere" / "cat" / "cat1-dog1.png").unlink()
    assert earlier_result(subject, elsewhere) is None
    others = {"cat": ["pug"], "dog": ["tabby"]}
    (data / "others.json").write_text(json.dumps(others))
    assert earlier_result(subject, Settings(str(data / "cues"), str(data / "others.json"))) is None


def test_a_dataset_without_the_categories_is_told_before_the_run(data):
    train = load_dataset(f"folder:{data / 'data'}")
    settings = Settings(str(data / "cues"), str(data / "categories.json"))
    settings.check(train)
    with pytest.raises(ValueError, match="the dataset has none"):
        settings.check(dataclasses.replace(train, class_names=["car", "boat"]))


def test_cue_conflict_images_of_other_categories_are_told_before_the_run(data):
    classes = json.dumps({"boat": ["tabby"], "dog": ["pug"]})
    (data / "others.json").write_text(classes)
    train = load_dataset(f"folder:{data / 'data'}")
    with pytest.raises(ValueError, match="both categories among boat, dog"):
        Settings(str(data / "cues"), str(data / "others.json")).check(train)


def test_no_cue_conflict_images(data):
    with pytest.raises(ValueError, match="no cue-conflict images"):
        cue_conflict_images(data / "data")
    dataset, shapes, textures = cue_conflict_images(data / "cues")
    assert len(dataset) == len(shapes) == 8 and set(zip(shapes, textures, strict=True)) == {
        ("cat", "dog"),
        ("dog", "cat"),
    }


def test_cue_conflict_images_that_cannot_be_decoded_are_named(data):
    (data / "cues" / "cat" / "cat2-dog1.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"^1 of the 8 .* cannot be decoded: \S*/cat2-dog1\.png"):
        cue_conflict_images(data / "cues")


def test_the_binary(data):
    seeing("shape").save(data / "encoder.keras")
    flags = [f"--encoder={data / 'encoder.keras'}", f"--dataset=folder:{data / 'data'}"]
    flags += [f"--workdir={data / 'out'}", f"--categories={data / 'categories.json'}"]
    done = commands.run("evaluation.shape_bias", *flags, f"--cue_conflict={data / 'cues'}")
    assert "Shape bias on 8 images of 2 categories: 100.0%" in done.stdout, done.stderr
