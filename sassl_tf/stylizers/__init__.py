"""Stylizers by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sassl_tf.nearest import nearest
from sassl_tf.stylizers.stylizer import Stylizer, find_alive
from sassl_tf.typing import PathLike

__all__ = ["Stylizer", "load_stylizer", "stylizer_from_config", "stylizer_from_variables"]


def load_stylizer(name: str, weights: PathLike | None = None) -> Stylizer:
    """Loads F and T.

    Args:
        name: "compact" (own weights, inside the package), "magenta" (the model of the paper,
            arbitrary-image-stylization v1-256) or "magenta-mobile" (its small sibling).
        weights: where they are. For "magenta" a TF Hub or Kaggle handle, a SavedModel folder or
            Magenta's checkpoint; by default TF Hub (44 MB of weights, downloaded once). For
            "magenta-mobile" the folder of Magenta's two TensorFlow Lite files. For "compact" the
            package by default. For each of them a `.safetensors` file of `Stylizer.save`.

    Returns:
        A `Stylizer`.

    Raises:
        ValueError: an unknown name, or missing or unfitting weights.
        OSError: "magenta" could not be fetched; the message says what was tried.
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
    raise ValueError(
        f"There is no stylizer {name!r}.{nearest(name, names)} There are {', '.join(names)}."
    )


def stylizer_from_variables(arrays: Mapping[str, np.ndarray]) -> Stylizer:
    """The "magenta" stylizer from `{name: array}`: the 359 variables of v1-256.

    See `sassl_tf.stylizers.magenta.stylizer_from_variables`.
    """
    from sassl_tf.stylizers import magenta

    return magenta.stylizer_from_variables(arrays)


def stylizer_from_config(config: dict[str, Any]) -> Stylizer:
    """The stylizer that `Stylizer.get_config` described.

    One of the same fingerprint that is already in memory is taken first: so a layer whose weights
    have moved, or never had a file, loads all the same once its stylizer has been made.

    Raises:
        ValueError: its weights are no longer there, or are others than they were.
    """
    if stylizer := find_alive(config["fingerprint"]):
        return stylizer
    remedy = (
        "Make the stylizer that it was saved with, by load_stylizer with weights= or by "
        "stylizer_from_variables, and keep it while loading: it is found by its fingerprint."
    )
    saved = f"The saved {config['name']} stylizer has the fingerprint {config['fingerprint']}"
    try:
        stylizer = load_stylizer(config["name"], config["weights"])
    except (ValueError, OSError) as error:
        raise ValueError(f"{saved}. Its weights were not found: {error} {remedy}") from error
    if stylizer.fingerprint != config["fingerprint"]:
        raise ValueError(
            f"{saved}, the one found now {stylizer.fingerprint}: its weights have changed. {remedy}"
        )
    return stylizer
