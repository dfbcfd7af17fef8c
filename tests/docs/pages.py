"""README and docs as the tests read them."""

import pathlib
import re

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
