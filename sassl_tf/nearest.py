"""Of a name that is not known, the known one that was probably meant."""

import difflib


def nearest(name, names):
    """' Did you mean "imagenette"?', or '' where none of the names is near."""
    found = difflib.get_close_matches(str(name), [*map(str, names)], n=1)
    return f' Did you mean "{found[0]}"?' if found else ""
