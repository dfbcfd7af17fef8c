"""The folder where it is remembered how datasets were found at the first look."""

import os

from sassl_tf.paths import AnyPath, as_path


def cache_folder() -> AnyPath:
    """Returns `$SASSL_CACHE`, else `~/.cache/sassl_tf`; it need not exist."""
    return as_path(os.environ.get("SASSL_CACHE") or "~/.cache/sassl_tf")
