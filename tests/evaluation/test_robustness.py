"""Corruptions against formulas, prepared ones by their names, and the means that are reported."""

import colorsys
import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf

from evaluation import corruptions, linear_probe, robustness
from evaluation.corruptions import _OTHER_NAMES as OTHER_NAMES
from evaluation.corruptions import CORRUPTIONS, GROUPS, corrupt, corrupted, prepared
from evaluation.evaluate import check_data, parse_evaluations
from evaluation.linear_probe import probe_of
from evaluation.results import earlier_result
from evaluation.robustness import Settings, sample
from evaluation.subject import load_subject
from sassl_tf.errors import PackageError, UserError
from sassl_tf.representation.features import prepare_image
from tests import commands
from tests.evaluation.tiny import in_memory, noise_images, tiny_encoder, write_class_folders


@pytest.fixture
def package():
    # OpenCV, which it imports, needs libGL.
    return pytest.importorskip(
        "imagecorruptions", reason="needs the extra robustness", exc_type=ImportError
    )


def test_names_and_groups_are_those_of_the_package(package):
    assert list(CORRUPTIONS) == package.get_corruption_names()
    for group, names in GROUPS.items():
        assert list(names) == package.get_corruption_names(group)


def test_corruptions_by_formula(package):
    [image] = noise_images(1, side=32)
    pixels = image / 255
    for severity, amount in ((1, 0.1), (5, 0.5)):
        hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in pixels.reshape(-1, 3)]
        rgb = [colorsys.hsv_to_rgb(h, s, min(1, v + amount)) for h, s, v in hsv]
        brighter = 255 * np.reshape(rgb, image.shape)
        np.testing.assert_allclose(corrupt(image, "brightness", severity, 0), brighter, atol=1.01)
    mean = pixels.mean(axis=(0, 1))
    expected = 255 * np.clip(0.2 * (pixels - mean) + mean, 0, 1)
    np.testing.assert_allclose(corrupt(image, "contrast", 3, 0), expected, atol=1.01)
    gray = np.full((64, 64, 3), 128, np.uint8)
    noise = corrupt(gray, "gaussian_noise", 2, 0) / 255 - 128 / 255
    assert noise.std() == pytest.approx(0.12, rel=0.03) and abs(noise.mean()) < 0.01


@pytest.mark.parametrize("name", ["gaussian_noise", "impulse_noise", "motion_blur", "frost"])
def test_a_seed_decides_all_and_leaves_numpy_alone(package, name):
    [image] = noise_images(1, side=40)
    np.random.seed(3)
    first = corrupt(image, name, 3, seed=7)
    drawn = np.random.random()
    np.random.seed(4)
    assert np.array_equal(corrupt(image, name, 3, seed=7), first)
    assert not np.array_equal(corrupt(image, name, 3, seed=8), first)
    np.random.seed(3)
    assert np.random.random() == drawn


def test_corrupted_images_of_a_dataset_and_its_cache(package, tmp_path, monkeypatch):
    dataset = in_memory(noise_images(3, side=48), split="test")
    made = corrupted(dataset, "shot_noise", 4, 24, 1.0)
    images = [made.image(i).numpy() for i in range(3)]
    assert images[0].shape == (24, 24, 3) and images[0].dtype == np.uint8
    assert np.array_equal(made.image(2).numpy(), images[2])  # in any order
    assert not np.array_equal(images[0], corrupted(dataset, "shot_noise", 5, 24, 1.0).image(0))
    kept = corrupted(dataset, "shot_noise", 4, 24, 1.0, cache=tmp_path)
    monkeypatch.setattr(corruptions, "corrupt", None)  # calling it would raise
    again = corrupted(dataset, "shot_noise", 4, 24, 1.0, cache=tmp_path)
    assert again.fingerprint == kept.fingerprint == made.fingerprint
    for i in range(3):
        assert np.array_equal(again.image(i).numpy(), images[i])


@pytest.mark.parametrize(("side", "proportion"), [(16, 0.875), (224, 0.875), (40, 0.5)])
def test_corrupted_images_show_what_the_clean_ones_show(package, monkeypatch, side, proportion):
    """A corruption that changes nothing: a slope whose ends tell what was cut off."""
    monkeypatch.setattr(corruptions, "corrupt", lambda image, *_: image)
    slope = np.linspace(0, 255, side)
    image = np.stack([*np.meshgrid(slope, slope), np.full((side, side), 90)], axis=-1)
    dataset = in_memory([np.uint8(np.round(image))])
    made = corrupted(dataset, "fog", 1, 16, proportion).image(0)
    clean = 255 * prepare_image(dataset.image(0), 16, proportion)
    assert np.ptp(clean[..., 0]) == pytest.approx(255 if side == 16 else 255 * proportion, abs=16)
    np.testing.assert_allclose(made, clean, atol=4)


def test_without_the_package_it_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "imagecorruptions", None)
    with pytest.raises(PackageError, match=r"pip install imagecorruptions-imaug"):
        Settings().check(in_memory([np.zeros([8, 8, 3], np.uint8)]))


def test_severities_are_checked():
    for severities in ((), (0,), (1, 6), (1.5,)):
        with pytest.raises(UserError, match="expected some of 1 to 5"):
            Settings(severities=severities)


def test_a_sample_has_as_many_of_each_class():
    labels = np.repeat([0, 1], [4, 20])
    dataset = in_memory(noise_images(24), labels)
    assert np.bincount(sample(dataset, 6).labels).tolist() == [3, 3]
    assert np.bincount(sample(dataset, 12).labels).tolist() == [4, 8]
    assert sample(dataset, 24) is dataset and sample(dataset, None) is dataset
    assert sample(dataset, 6).listing == sample(dataset, 6).listing


def test_prepared_images_of_tfds_by_their_names(monkeypatch):
    asked = []

    def tfds(name, split, data_dir):
        asked.append((name, split, data_dir))
        return in_memory(noise_images(4), [0, 1, 1, 0], split)

    monkeypatch.setattr(corruptions, "tfds", tfds)
    found = prepared("tfds:cifar10_corrupted", "glass_blur", 2, ["b", "a", "c"], "DIR")
    assert found.labels.tolist() == [1, 0, 0, 1] and found.class_names == ["b", "a", "c"]
    prepared("tfds:imagenet2012_corrupted", "elastic_transform", 5, ["a", "b"], None)
    assert asked == [
        ("cifar10_corrupted/frosted_glass_blur_2", "test", "DIR"),
        ("imagenet2012_corrupted/elastic_transform_5", "test", None),
    ]
    with pytest.raises(UserError, match=r"1 classes of made.*[(]b[)]"):
        prepared("tfds:cifar10_corrupted", "fog", 1, ["a", "c"], None)
    with pytest.raises(UserError, match="expected tfds:NAME"):
        Settings(corrupted="cifar10_corrupted").listings()
    del asked[:]
    monkeypatch.setattr("sassl_tf.datasets.shapes.COUNTS", {"train": 24, "test": 12})
    line = "r=robustness on shapes --corrupted=tfds:cifar10_corrupted --severities=1,3"
    with pytest.raises(UserError, match="'r': 2 classes of made are not among"):
        check_data(parse_evaluations([line]), "DIR")
    monkeypatch.setattr(corruptions, "with_labels_of", lambda dataset, class_names: dataset)
    del asked[:]
    found = check_data(parse_evaluations([line]), "DIR")
    assert set(found["r"].listings) == {"train", "test", "corrupted"}
    assert set(asked) == {
        (f"cifar10_corrupted/{OTHER_NAMES.get(name, name)}_{severity}", "test", "DIR")
        for name in CORRUPTIONS
        for severity in (1, 3)
    }


@pytest.fixture
def few(monkeypatch):
    """Five corruptions instead of fifteen, and two values of L2."""
    groups = {
        "noise": ("shot_noise",),
        "blur": ("zoom_blur",),
        "weather": ("frost", "fog"),
        "digital": ("jpeg_compression",),
    }
    monkeypatch.setattr(robustness, "GROUPS", groups)
    names = [name for group in groups.values() for name in group]
    for module in (robustness, corruptions):
        monkeypatch.setattr(module, "CORRUPTIONS", names)
    monkeypatch.setattr(linear_probe, "L2_VALUES", (0.1, 10.0))
    return names


def test_means_over_severities_and_groups(few, tmp_path, monkeypatch):
    """Prepared images: noise shows each class as the next one, and frost at severity 3 too."""
    write_class_folders(tmp_path / "home")
    clean = tmp_path / "home" / "test"
    for name in few:
        for severity in (1, 3):
            wrong = name == "shot_noise" or (name, severity) == ("frost", 3)
            for label in range(3):
                shown = (label + 1) % 3 if wrong else label
                place = tmp_path / "corrupted" / name / f"{severity}" / f"class{label}"
                shutil.copytree(clean / f"class{shown}", place)
    tiny_encoder().save(tmp_path / "encoder.keras")
    subject = load_subject(
        tmp_path / "encoder.keras", f"folder:{tmp_path / 'home'}", workdir=tmp_path, image_size=16
    )
    settings = Settings(severities=(1, 3), corrupted=f"folder:{tmp_path / 'corrupted'}")
    found = robustness.run(subject, settings)
    assert found["clean_accuracy"] == 1 and found["corrupted_images"] == 12
    assert found["by_corruption"]["frost"] == [1, 0] and found["by_corruption"]["fog"] == [1, 1]
    assert found["by_group"] == {"noise": 0, "blur": 1, "weather": 3 / 4, "digital": 1}
    assert found["accuracy"] == found["mean_per_class_accuracy"] == pytest.approx(3.5 / 5)
    # What was done in an earlier start is not done again, and the cache's place is no setting.
    monkeypatch.setattr(robustness, "say", None)  # calling it would raise
    assert robustness.run(subject, dataclasses.replace(settings, cache="x")) == {
        **found,
        "command": found["command"],
    }
    assert set(found["settings"]) == {"severities", "images", "corrupted", "listings"}
    assert earlier_result(subject, settings) is not None
    next((tmp_path / "corrupted" / "fog" / "3" / "class1").iterdir()).unlink()
    assert earlier_result(subject, settings) is None
    # A sample is of the corrupted images; the clean accuracy is of the whole test split.
    monkeypatch.setattr(robustness, "say", print)
    few_images = robustness.run(subject, dataclasses.replace(settings, images=3))
    assert few_images["corrupted_images"] == 3 and few_images["clean_accuracy"] == 1


def test_made_here_from_end_to_end(package, few, tmp_path):
    write_class_folders(tmp_path / "home", test=2)
    tiny_encoder().save(tmp_path / "encoder.keras")
    subject = load_subject(
        tmp_path / "encoder.keras", f"folder:{tmp_path / 'home'}", workdir=tmp_path, image_size=16
    )
    found = robustness.run(subject, Settings(severities=(2,), images=3))
    assert found["corrupted_images"] == 3 and found["clean_accuracy"] == 1
    assert found["by_corruption"]["jpeg_compression"] == [1]
    # One of them by hand, with the probe that was trained on clean images.
    images = corrupted(sample(subject.test, 3), "zoom_blur", 2, 16, subject.crop_proportion)
    batch = tf.stack([images.image(i) for i in range(3)])
    features = subject.encoder(tf.cast(batch, tf.float32) / 255, training=False)
    right = probe_of(subject)[0].predict(features.numpy()) == images.labels
    assert found["by_corruption"]["zoom_blur"] == [right.mean()]


def test_the_binary(tmp_path):
    write_class_folders(tmp_path / "home", classes=2, test=1)
    for name in CORRUPTIONS:
        shutil.copytree(tmp_path / "home" / "test", tmp_path / "corrupted" / name / "2")
    tiny_encoder().save(tmp_path / "encoder.keras")
    flags = [f"--encoder={tmp_path / 'encoder.keras'}", f"--dataset=folder:{tmp_path / 'home'}"]
    flags += [f"--corrupted=folder:{tmp_path / 'corrupted'}", "--severities=2", "--image_size=16"]
    done = commands.run("evaluation.robustness", *flags, f"--workdir={tmp_path / 'out'}")
    assert "100.00%, clean 100.00%; 2 images of each corruption" in done.stdout, done.stderr
