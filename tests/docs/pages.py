"""README and docs as the tests read them."""

import pathlib
import re

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "sassl_tf" / "stylizers" / "weights" / "MODEL_CARD.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    """The text of the page's code blocks in a language."""
    return [text for name, text in FENCE.findall(page.read_text()) if name == language]


def with_blocks(language):
    """The pages that have some, for `pytest.mark.parametrize`."""
    return [page for page in PAGES if blocks(page, language)]


def name(page):
    return page.relative_to(ROOT).as_posix()


def write_images(folder, count=2):
    """A dataset of two classes."""
    for label in ("first", "second"):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng([ord(label[0]), number]).integers(0, 256, (40, 40, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number}.png")
