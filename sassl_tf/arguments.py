"""Checks of the layer's arguments: each returns the value in one form, or raises a ValueError."""

import numbers


def fraction(value, argument):
    """A float in [0, 1]."""
    if not isinstance(value, numbers.Real) or not 0 <= value <= 1:
        raise ValueError(f"{argument} is {value!r}; expected a number in [0, 1].")
    return float(value)


def _pair(value):
    """Two floats, or None where the value is something else."""
    try:
        low, high = value
        return float(low), float(high)
    except (TypeError, ValueError):
        return None


def factor_range(value, argument):
    """(lowest, highest) in [0, 1]; a single number is both."""
    pair = _pair((value, value) if isinstance(value, numbers.Real) else value)
    if pair is None or not 0 <= pair[0] <= pair[1] <= 1:
        raise ValueError(
            f"{argument} is {value!r}; expected (lowest, highest) with 0 <= lowest <= highest <= 1."
        )
    return pair


def value_range(value):
    """(lowest, highest) of pixel values."""
    pair = _pair(value)
    if pair is None or not pair[0] < pair[1]:
        raise ValueError(f"value_range is {value!r}; expected (lowest, highest), such as (0, 255).")
    return pair


def side(value, argument):
    """None, or a side in pixels that the networks' padding allows."""
    if value is not None and (not isinstance(value, int) or value < 16):
        raise ValueError(f"{argument} is {value!r}; expected None or a side of at least 16 px.")
    return value
