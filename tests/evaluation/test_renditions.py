"""Drawn images: what each filter does to simple pictures, and a probe that is tested on them."""

import sys

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from evaluation import domains, linear_probe, renditions
from evaluation.renditions import RENDITIONS, draw, write_renditions
from evaluation.subject import load_subject
from sassl_tf.datasets import load_dataset
from sassl_tf.errors import PackageError, UserError
from tests import commands
from tests.evaluation.tiny import tiny_encoder, write_class_folders


def disc(inside, outside, size=96):
    """A disc on a plane, uint8 [size, size, 3]; where its edge, its middle and its corners are."""
    y, x = np.mgrid[:size, :size] - size / 2
    radius = np.hypot(x, y)
    image = np.where((radius < size / 4)[..., None], np.uint8(inside), np.uint8(outside))
    return image, abs(radius - size / 4) < 1.5, radius < size / 8, radius > size / 2


def test_cartoons_have_dark_outlines_and_keep_colours():
    image, edge, *areas = disc((220, 60, 40), (90, 160, 230))
    drawn = draw(image, "cartoon")
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    for area in areas:
        np.testing.assert_allclose(drawn[area], image[area], atol=4)
    assert drawn[edge].mean() < image[edge].mean() / 2


def test_pencil_has_lines_where_the_image_has_edges_and_white_elsewhere():
    image, edge, *areas = disc((60, 60, 60), (200, 200, 200))
    drawn = draw(image, "pencil")
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (drawn == drawn[..., :1]).all()
    assert all((drawn[area] == 255).all() for area in areas)
    assert drawn[edge].min() < 150
    assert (draw(np.zeros_like(image), "pencil") == 255).all()
    with pytest.raises(UserError, match="sketch"):
        draw(image, "sketch")
    # By the formula, with another Gaussian: of 3 pixels, on the luminance of ITU-R BT.601.
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    grey = np.rint(image @ np.array([0.299, 0.587, 0.114]))
    around = scipy.ndimage.gaussian_filter(grey, 3.0, mode="mirror", truncate=5)
    expected = np.minimum(255, 255 * (grey + 1) / (around + 1))
    np.testing.assert_allclose(draw(image, "pencil")[..., 0], expected, atol=3)


def test_a_probe_is_tested_on_the_drawn_images(tmp_path, monkeypatch):
    monkeypatch.setattr(linear_probe, "L2_VALUES", (0.1, 10.0))  # the others take their time
    write_class_folders(tmp_path / "photo")
    photos = load_dataset(f"folder:{tmp_path / 'photo'}", "test")
    assert write_renditions(photos, tmp_path / "drawn") == len(photos)
    for rendition in RENDITIONS:
        drawn = load_dataset(f"folder:{tmp_path / 'drawn' / rendition}", "test")
        assert drawn.class_names == photos.class_names
        np.testing.assert_array_equal(drawn.labels, photos.labels)
        for index in (0, len(photos) - 1):
            expected = draw(photos.image(index).numpy(), rendition)
            np.testing.assert_array_equal(drawn.image(index), expected)
    tiny_encoder().save(tmp_path / "encoder.keras")
    spec = f"folder:{tmp_path / 'photo'}"
    subject = load_subject(tmp_path / "encoder.keras", spec, workdir=tmp_path, image_size=16)
    tested = tuple(f"folder:{tmp_path / 'drawn' / rendition}" for rendition in RENDITIONS)
    found = domains.run(subject, domains.Settings(test=tested))["by_domain"]
    assert [one["images"] for one in found.values()] == 2 * [len(photos)]


def test_the_command_says_how_to_test_on_what_it_drew(tmp_path):
    write_class_folders(tmp_path / "photo")
    arguments = f"--dataset=folder:{tmp_path / 'photo'}", f"--output={tmp_path / 'drawn'}"
    done = commands.run("evaluation.renditions", *arguments)
    assert done.returncode == 0 and f"folder:{tmp_path / 'drawn' / 'pencil'}" in done.stdout
    again = commands.run("evaluation.renditions", *arguments)
    assert again.returncode != 0 and "exists already" in again.stderr


def test_nothing_is_left_of_what_cannot_be_drawn(tmp_path, monkeypatch):
    (tmp_path / "plain").mkdir()
    for number in range(3):
        data = tf.io.encode_png(np.zeros((16, 16, 3), np.uint8)).numpy()
        (tmp_path / "plain" / f"{number}.png").write_bytes(data)
    with pytest.raises(UserError, match="no class folders"):
        write_renditions(load_dataset(f"folder:{tmp_path / 'plain'}"), tmp_path / "drawn")
    write_class_folders(tmp_path / "photo")
    photos = load_dataset(f"folder:{tmp_path / 'photo'}", "test")
    monkeypatch.setitem(sys.modules, "cv2", None)  # as if it were not installed
    with pytest.raises(PackageError, match=r"\[robustness\]"):
        renditions.write_renditions(photos, tmp_path / "drawn")
    assert not (tmp_path / "drawn").exists()
