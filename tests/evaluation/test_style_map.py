"""Distances of styles against closed forms and SciPy, and maps of folders."""

import json

import numpy as np
import pytest
import scipy.linalg
from PIL import Image

import sassl_tf
from evaluation.style_distance import frechet_distance, neighbour_overlap
from evaluation.style_map import ranking, style_map


def normal(count, mean=0.0, scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(mean, scale, (count, 5))


def test_the_frechet_distance_in_one_dimension():
    """(m1 - m2)² + (s1 - s2)²."""
    first, second = np.array([[0.0], [2.0]]), np.array([[5.0], [9.0]])
    s1, s2 = np.sqrt(2), np.sqrt(8)
    assert frechet_distance(first, second) == pytest.approx(36 + (s1 - s2) ** 2)


def test_the_frechet_distance_is_scipys():
    first = normal(60) @ np.random.default_rng(3).normal(size=(5, 5))
    second = normal(50, mean=0.4, seed=1)
    c1, c2 = np.cov(first.T), np.cov(second.T)
    root = scipy.linalg.sqrtm(c1 @ c2).real
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(c1 + c2 - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(second, first) == pytest.approx(expected)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-8)
    few = normal(3, seed=4)  # fewer codes than dimensions
    assert 0 < frechet_distance(few, normal(3, mean=1, seed=5)) < np.inf
    with pytest.raises(ValueError, match="two images or more, not 1"):
        frechet_distance(first[:1], second)


def test_the_overlap_of_neighbours():
    assert neighbour_overlap(normal(200), normal(300, mean=50, seed=1)) == 0
    assert neighbour_overlap(normal(400), normal(400, seed=1)) == pytest.approx(1, abs=0.15)
    between = neighbour_overlap(normal(400), normal(400, mean=0.8, seed=1))
    assert 0.1 < between < 0.85
    same = normal(50)
    assert neighbour_overlap(same, same) == 1  # the twin of each is in the other set


def test_the_nearest_comes_first():
    rows = [
        {"datasets": ["a", "b"], "frechet_distance": 3.0},
        {"datasets": ["b", "c"], "frechet_distance": 1.0},
        {"datasets": ["a", "c"], "frechet_distance": 2.0},
    ]
    assert [name for name, _ in ranking(rows, "a")] == ["c", "b"]


@pytest.fixture
def folders(tmp_path):
    """Noise, the same noise a little darker, and stripes."""
    rng = np.random.default_rng(0)
    stripes = np.tile(np.repeat([0, 255], 4), 6)[:48]
    pictures = {
        "noise": lambda: rng.integers(0, 256, (48, 48, 3)),
        "darker": lambda: rng.integers(0, 236, (48, 48, 3)),
        "stripes": lambda: np.tile(stripes[:, None, None], (1, 48, 3)) * rng.random(3),
    }
    specs = []
    for name, picture in pictures.items():
        (tmp_path / name).mkdir()
        for number in range(6):
            image = Image.fromarray(picture().astype(np.uint8))
            image.save(tmp_path / name / f"{number}.png")
        specs.append(f"folder:{tmp_path / name}")
    return specs


def test_a_map(folders, tmp_path):
    stylizer, output = sassl_tf.load_stylizer("compact"), tmp_path / "map"
    text = style_map(folders, output, stylizer, target=folders[0], max_images=5)
    nearest = text.partition("first:")[2].split()
    assert nearest[1] == folders[1], text
    content = json.loads((output / "style_map.json").read_text())
    assert content["fingerprint"] == stylizer.fingerprint and len(content["distances"]) == 3
    assert set(content["images"].values()) == {5}
    assert (output / "style_map.png").read_bytes().startswith(b"\x89PNG")
    assert (output / "style_map.md").read_text() == text


def test_mistakes(folders, tmp_path):
    stylizer = sassl_tf.load_stylizer("compact")
    with pytest.raises(ValueError, match="two datasets or more"):
        style_map(folders[:1], tmp_path, stylizer)
    with pytest.raises(ValueError, match="not among the datasets"):
        style_map(folders, tmp_path, stylizer, target="shapes")
