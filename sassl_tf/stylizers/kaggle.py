"""Downloads of models by their Kaggle handle, through `kagglehub` where it is installed.

`pip install kagglehub`; it caches what it downloads, in ~/.cache/kagglehub unless KAGGLEHUB_CACHE
says otherwise. The tests have a stand-in for it; the real one was only tried without a network.
"""

import importlib.util
import pathlib

from sassl_tf.errors import NetworkError
from sassl_tf.extras import import_extra
from sassl_tf.files import short_reason


def is_installed() -> bool:
    """Returns whether `kagglehub` can be imported."""
    return importlib.util.find_spec("kagglehub") is not None


def fetch(handle: str, remedy: str) -> pathlib.Path:
    """Returns the local folder of a model, downloaded unless it is cached.

    Args:
        handle: "owner/model/framework/variation/version".
        remedy: advice for the error message, where the model cannot be had.

    Raises:
        ConnectionError: it is not cached and cannot be downloaded.
        ImportError: kagglehub cannot be imported.
    """
    kagglehub = import_extra("kagglehub", "kaggle", f"The download of {handle}")
    try:
        return pathlib.Path(kagglehub.model_download(handle))
    except Exception as error:  # of requests, of kagglehub and of the file system
        what = short_reason(error).rstrip(".")
        raise NetworkError(
            f"kagglehub could not fetch {handle} ({type(error).__name__}: {what}). {remedy}"
        ) from error
