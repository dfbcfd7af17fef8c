"""Packages that only some uses need: the extras of setup.py."""

import importlib
from types import ModuleType

from sassl_tf.errors import PackageError


def import_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Imports a module of an extra of this package.

    Args:
        module: its name, such as "onnxruntime".
        extra: the extra of setup.py that installs it.
        purpose: the thing that needs it, as the subject of the error's sentence.

    Raises:
        ImportError: it is not installed, or cannot be imported; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PackageError(
            f"{purpose} needs the package {module}, which cannot be imported ({error}). Install "
            f"it from a checkout of this package: pip install '.[{extra}]'."
        ) from error
