"""A probe of one domain on others: classes by name, all splits, and what is left out."""

import dataclasses
import shutil

import numpy as np
import pytest

from evaluation import domains, linear_probe
from evaluation.classes import every_split, shared_classes
from evaluation.domains import Settings
from evaluation.evaluate import evaluate, parse_evaluation
from evaluation.subject import load_subject
from sassl_tf.errors import UserError
from tests import commands
from tests.evaluation.tiny import tiny_encoder, write_class_folders


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A train domain of three classes, and an encoder."""
    monkeypatch.setattr(linear_probe, "L2_VALUES", (0.1, 10.0))  # the others take their time
    write_class_folders(tmp_path / "photo")
    tiny_encoder().save(tmp_path / "encoder.keras")
    return tmp_path


def domain(root, name, of, splits=("train", "test")):
    """Writes a domain whose class CLASS shows the photographs of of[CLASS]."""
    for split in splits:
        for shown_as, source in of.items():
            target = root / name / (split if len(splits) > 1 else "") / shown_as
            shutil.copytree(root / "photo" / split / source, target)
    return f"folder:{root / name}"


def test_classes_are_matched_by_name(photos):
    # The same classes; two of them exchanged, in a folder without splits; and one class more.
    art = domain(photos, "art", {f"class{i}": f"class{i}" for i in range(3)})
    exchanged = {"class0": "class0", "class1": "class2", "class2": "class1"}
    sketch = domain(photos, "sketch", exchanged, splits=("train",))
    other = domain(photos, "other", {"a_class": "class0", "class2": "class2"})
    spec = f"folder:{photos / 'photo'}"
    subject = load_subject(photos / "encoder.keras", spec, workdir=photos, image_size=16)
    found = domains.run(subject, Settings(test=(art, sketch, other)))
    by_domain = found["by_domain"]
    assert [one["accuracy"] for one in by_domain.values()] == pytest.approx([1, 1 / 3, 1])
    assert [one["images"] for one in by_domain.values()] == [42, 30, 14]
    assert [one["left_out"] for one in by_domain.values()] == [0, 0, 14]
    assert found["accuracy"] == pytest.approx(7 / 9) and found["home_accuracy"] == 1


def test_a_line_of_a_study_and_other_images_at_the_same_place(photos):
    art = domain(photos, "art", {"class0": "class0", "class1": "class1"})
    line = f"d=domains on folder:{photos / 'photo'} --test={art}"
    evaluation = parse_evaluation(line)
    assert evaluation.settings.test == (art,)
    (photos / "run").mkdir()
    found, _ = evaluate(photos / "encoder.keras", [evaluation], photos / "run", image_size=16)
    assert found["d"]["by_domain"][art]["images"] == 28
    next((photos / "art" / "test" / "class0").iterdir()).unlink()
    found, _ = evaluate(photos / "encoder.keras", [evaluation], photos / "run", image_size=16)
    assert found["d"]["by_domain"][art]["images"] == 27


def test_bad_domains(photos):
    train = every_split(f"folder:{photos / 'photo'}")
    for test, told in (("photo", "the train domain too"), ("art", "given twice")):
        if test == "art":
            shutil.copytree(photos / "photo", photos / "art")
        twice = (f"folder:{photos / test}", f"folder:{photos / test}/")
        with pytest.raises(UserError, match=f"{test}/? is {told}"):
            Settings(test=twice).check(train)
    shutil.rmtree(photos / "art")
    with pytest.raises(UserError, match="missing does not exist"):
        Settings(test=(f"folder:{photos / 'missing'}",)).listings()
    plain = photos / "plain"
    shutil.copytree(photos / "photo" / "train" / "class0", plain)
    with pytest.raises(UserError, match="no class folders"):
        every_split(f"folder:{plain}")
    art = every_split(domain(photos, "art", {"a": "class0", "b": "class1"}))
    with pytest.raises(UserError, match=r"no class in common: a, b, ... and c"):
        shared_classes(art, dataclasses.replace(train, class_names=["c", "d", "e"]))
    with pytest.raises(UserError, match="no class in common"):  # told before a study's first run
        Settings(test=(f"folder:{photos / 'art'}",)).check(train)


def test_a_class_without_train_images_is_left_out(photos):
    """Where all domains share one list of classes, as DomainNet's do in TFDS."""
    train = every_split(f"folder:{photos / 'photo'}")
    art = every_split(domain(photos, "art", {f"class{i}": f"class{i}" for i in range(3)}))
    some = train.subset(np.flatnonzero(train.labels != 1))
    assert some.class_names == art.class_names
    kept = shared_classes(art, some)
    assert {*kept.labels} == {0, 2} and len(kept) == 28


def test_the_binary(photos):
    art = domain(photos, "art", {"class0": "class0", "class1": "class1"})
    flags = [f"--encoder={photos / 'encoder.keras'}", f"--train=folder:{photos / 'photo'}"]
    flags += [f"--test={art}", f"--workdir={photos / 'out'}", "--image_size=16"]
    done = commands.run("evaluation.domains", *flags)
    assert f"{art}: 100.00% of 28 images" in done.stdout, done.stderr
