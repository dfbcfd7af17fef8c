"""The folder where it is remembered how datasets were found at the first look."""

import os
import pathlib


def cache_folder() -> pathlib.Path:
    """Returns `$SASSL_CACHE`, else `~/.cache/sassl_tf`; it need not exist."""
    return pathlib.Path(os.environ.get("SASSL_CACHE") or "~/.cache/sassl_tf").expanduser()
