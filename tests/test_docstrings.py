"""Docstrings begin with a verb or with the name of the thing."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("sassl_tf", "training", "evaluation", "benchmarks")
RIDDLES = {"What", "Of", "Whether", "By", "How", "Where", "As", "If", "Which", "Why"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def first_words(file):
    """Yields (line, first word) of all docstrings of a file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, DOCUMENTED) and (docstring := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), docstring.split()[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_docstring_begins_as_a_riddle(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    riddles = [
        f"{file.relative_to(ROOT)}:{line} {word}"
        for file in files
        for line, word in first_words(file)
        if word.strip(".,:") in RIDDLES
    ]
    assert not riddles, "\n".join(riddles)
