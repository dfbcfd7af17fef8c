"""Markdown for the reports: a table, and the commands and versions behind its numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table: a line for the header, and one for each row of as many cells."""
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def origin(commands: Iterable[str], results: Iterable[Mapping[str, Any]]) -> str:
    """Returns the sections "Commands" and "Versions" of a report, without those that are empty.

    Args:
        commands: the command lines, in their order; one that repeats is listed once.
        results: the contents of results files, which name their versions; likewise.
    """
    lines = list(dict.fromkeys(commands))
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        for result in results
    )
    sections = []
    if lines:
        sections += ["## Commands", "", "```sh", *lines, "```", ""]
    if versions:
        sections += ["## Versions", "", *versions, ""]
    return "\n".join(sections)
