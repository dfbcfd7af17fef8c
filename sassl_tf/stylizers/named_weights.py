"""The weights of a Keras model by name: `{"layer/weight": array}`."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from sassl_tf.errors import UserError


def named_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns `{"layer/weight": array}` of a Keras model, in a fixed order."""
    return {
        f"{layer.name}/{weight.name}": weight.numpy()
        for layer in model.layers
        for weight in layer.weights
    }


def set_named_weights(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Sets the weights that `named_weights` returns.

    Raises:
        ValueError: the arrays do not fit; names what is missing, unexpected or of another shape.
    """
    shapes = {name: array.shape for name, array in named_weights(model).items()}
    if problem := misfit(shapes, arrays):
        raise UserError(f"The weights do not fit {model.name}: {problem}.")
    for layer in model.layers:
        for weight in layer.weights:
            weight.assign(arrays[f"{layer.name}/{weight.name}"])


def misfit(shapes: Mapping[str, Sequence[int]], arrays: Mapping[str, np.ndarray]) -> str | None:
    """Describes how arrays differ from the names and shapes that are expected.

    Args:
        shapes: `{name: shape}`, as expected.
        arrays: `{name: array}`, as given.

    Returns:
        A list of what is missing, unexpected, of another shape or not finite; None where all fit.
    """
    other_shapes = [
        f"{name} is {arrays[name].shape} for {tuple(shape)}"
        for name, shape in shapes.items()
        if name in arrays and arrays[name].shape != tuple(shape)
    ]
    problems = {
        "missing": [name for name in shapes if name not in arrays],
        "unexpected": [name for name in arrays if name not in shapes],
        "of another shape": other_shapes,
        "not finite": [name for name in arrays if not np.isfinite(arrays[name]).all()],
    }
    return "; ".join(_listing(kind, names) for kind, names in problems.items() if names) or None


def _listing(kind: str, names: Sequence[str], most: int = 6) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} {kind}: {', '.join(names[:most])}{rest}"
