"""Maps of folders, and the ranking of their styles."""

import json

import numpy as np
import pytest
from PIL import Image

from evaluation.style_map import ranking, style_map
from tests.stylizers.tiny import tiny_stylizer


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
    stylizer, output = tiny_stylizer(), tmp_path / "map"
    text = style_map(folders, output, stylizer, target=folders[0], max_images=5)
    nearest = text.partition("first:")[2].split()
    assert nearest[1] == folders[1], text
    content = json.loads((output / "style_map.json").read_text())
    assert content["fingerprint"] == stylizer.fingerprint and len(content["distances"]) == 3
    assert set(content["images"].values()) == {5}
    assert (output / "style_map.png").read_bytes().startswith(b"\x89PNG")
    assert (output / "style_map.md").read_text() == text


def test_mistakes(folders, tmp_path):
    stylizer = tiny_stylizer()
    with pytest.raises(ValueError, match="two datasets or more"):
        style_map(folders[:1], tmp_path, stylizer)
    with pytest.raises(ValueError, match="not among the datasets"):
        style_map(folders, tmp_path, stylizer, target="shapes")
