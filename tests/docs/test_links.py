"""Every link in README, docs and notebooks leads somewhere."""

import json
import os
import re
import urllib.error
import urllib.request

import pytest

from tests.docs.pages import FENCE, PAGES, ROOT, name

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(page):
    if page.suffix == ".ipynb":
        cells = json.loads(page.read_text())["cells"]
        return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return FENCE.sub("", page.read_text())


def anchors(page):
    """As GitHub and MkDocs make them of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {text.strip().replace(" ", "-") for text in plain}


@pytest.mark.parametrize("page", PAGES + NOTEBOOKS, ids=name)
def test_links_to_files_and_headings(page):
    for target in LINK.findall(prose(page)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{name(page)}: {target}"


def test_every_page_is_in_the_site_and_every_picture_on_a_page():
    listed = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"- {page.name}\n" in listed or f": {page.name}\n" in listed, page
    texts = "".join(page.read_text() for page in PAGES)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert f"images/{picture.name})" in texts, picture


@pytest.mark.skipif("SASSL_CHECK_LINKS" not in os.environ, reason="needs a network: make links")
def test_links_to_the_web():
    """`make links`; sites that refuse robots (403, 429) count as there."""
    targets = {
        target
        for page in PAGES + NOTEBOOKS
        for target in LINK.findall(prose(page))
        if target.startswith("http") and "OWNER" not in target
    }
    assert targets
    broken = {target: answer for target in sorted(targets) if (answer := _problem(target))}
    assert not broken, json.dumps(broken, indent=2)


def _problem(target):
    request = urllib.request.Request(target, headers={"User-Agent": "Mozilla/5.0"})
    try:
        with urllib.request.urlopen(request, timeout=30):
            return None
    except urllib.error.HTTPError as error:
        return None if error.code in (403, 429) else str(error)
    except OSError as error:
        return str(error)
