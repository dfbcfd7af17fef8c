"""Stylizers by name."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from sassl_tf.saved_config import fields
from sassl_tf.stylizers.fingerprint import find_in_memory
from sassl_tf.stylizers.stylizer import Stylizer
from sassl_tf.typing import PathLike

__all__ = ["Stylizer", "load_stylizer", "stylizer_from_config", "stylizer_from_variables"]

_REMEDY = (
    "If you trust where it comes from, make the stylizer first, with load_stylizer(name, weights) "
    "or stylizer_from_variables, and keep it while loading: it is then found by its fingerprint."
)


def load_stylizer(name: str, weights: PathLike | None = None) -> Stylizer:
    """Loads F and T.

    Args:
        name: "compact" (own weights, inside the package), "magenta" (the model of the paper,
            arbitrary-image-stylization v1-256) or "magenta-mobile" (its small sibling).
        weights: source of the weights. For "magenta" a TF Hub or Kaggle handle, a SavedModel
            folder or Magenta's checkpoint; by default Kaggle Models or TF Hub (44 MB, downloaded
            once). For "magenta-mobile" the folder of Magenta's two TensorFlow Lite files; by
            default Kaggle Models or TF Hub (3 MB, downloaded once). For "compact" by default the
            package. Each of them also takes a `.safetensors` file of `Stylizer.save`.

    A SavedModel, fetched or local, is run once, to compare our networks with it. Give only one
    that you trust. All other forms hold numbers alone.

    Returns:
        A `Stylizer`.

    Raises:
        ValueError: an unknown name, or missing or unfitting weights.
        OSError: the weights could not be fetched; the message says what was tried.
    """
    if name == "compact":
        from sassl_tf.stylizers.compact import load_compact_stylizer

        return load_compact_stylizer(weights)
    if name == "magenta":
        from sassl_tf.stylizers.magenta_sources import load_magenta_stylizer

        return load_magenta_stylizer(weights)
    if name == "magenta-mobile":
        from sassl_tf.stylizers.mobile import load_mobile_stylizer

        return load_mobile_stylizer(weights)
    names = ("compact", "magenta", "magenta-mobile")
    raise UserError(
        f"There is no stylizer {name!r}.{nearest(name, names)} There are {', '.join(names)}."
    )


def stylizer_from_variables(arrays: Mapping[str, np.ndarray]) -> Stylizer:
    """Makes the "magenta" stylizer from `{name: array}`: the 359 variables of v1-256.

    See `sassl_tf.stylizers.magenta.stylizer_from_variables`.
    """
    from sassl_tf.stylizers import magenta

    return magenta.stylizer_from_variables(arrays)


def stylizer_from_config(config: dict[str, Any]) -> Stylizer:
    """Returns the stylizer that `Stylizer.get_config` described.

    The config may come from an untrusted file, so this downloads nothing and runs no model. The
    stylizer is, in this order, one in memory with the same fingerprint; that of the package, with a
    warning if it is of another version; or that of a local `.safetensors` file, which holds numbers
    alone.

    Raises:
        ValueError: it is none of these, its weights have changed, or the config is damaged. The
            message says how to make the stylizer first.
    """
    name, weights, fingerprint = fields(
        config,
        {"name": str, "weights": (str, type(None)), "fingerprint": str},
        "a stylizer",
    )
    if stylizer := find_in_memory(fingerprint, weights):
        return stylizer
    saved = f"The saved layer's stylizer, {name!r} with the fingerprint {fingerprint},"
    if not _can_be_opened(name, weights):
        raise UserError(
            f"{saved} is not in memory, and a saved layer opens no weights but the package's own "
            f"and local .safetensors files (its are {weights!r}). {_REMEDY}"
        )
    try:
        stylizer = load_stylizer(name, weights)
    except (ValueError, OSError) as error:
        raise UserError(f"{saved} was not found: {error} {_REMEDY}") from error
    if stylizer.fingerprint != fingerprint:
        if weights is None:
            warnings.warn(
                f"{saved} is of another version of the package, whose own has the fingerprint "
                f"{stylizer.fingerprint}. That one is taken, so views differ from those before.",
                stacklevel=2,
            )
            return stylizer
        raise UserError(
            f"{saved} was not found: the one there has the fingerprint {stylizer.fingerprint}, so "
            f"its weights have changed. {_REMEDY}"
        )
    return stylizer


def _can_be_opened(name: str, weights: str | None) -> bool:
    """Returns whether the weights that a config names are safe to open: they are only numbers."""
    if weights is None:
        return name == "compact"
    # Two slashes or backslashes at the start name a computer in the network on Windows.
    remote = "://" in weights or weights.replace("\\", "/").startswith("//")
    return weights.endswith(".safetensors") and not remote
