"""Suggestions for misspelled names."""

import difflib
from collections.abc import Iterable


def nearest(name: object, names: Iterable[object]) -> str:
    """Returns ' Did you mean "imagenette"?', or '' where none of the names is near."""
    matches = difflib.get_close_matches(str(name), [*map(str, names)], n=1)
    return f' Did you mean "{matches[0]}"?' if matches else ""
