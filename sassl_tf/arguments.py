"""Checks of arguments. Each returns the value in one form, or raises a ValueError."""

import math
import numbers
from typing import Any

import numpy as np

LARGEST_VALUE = 2.0**32  # of a pixel; float32 and its squares are far from overflowing


def fraction(value: Any, argument: str) -> float:
    """Returns a float in [0, 1]."""
    if not _is_real(value) or not 0 <= value <= 1:
        raise ValueError(f"{argument} is {value!r}; expected a number in [0, 1].")
    return float(value)


def _pair(value: Any) -> tuple[float, float] | None:
    """Returns two floats, or None where the value is something else."""
    if isinstance(value, (str, bytes)):  # "01" would be 0 and 1
        return None
    try:
        low, high = value
        return float(low), float(high)
    except (TypeError, ValueError, OverflowError):
        return None


def factor_range(value: Any, argument: str) -> tuple[float, float]:
    """Returns (lowest, highest) in [0, 1]; a single number is both."""
    pair = _pair((value, value) if _is_real(value) else value)
    if pair is None or not 0 <= pair[0] <= pair[1] <= 1:
        raise ValueError(
            f"{argument} is {value!r}; expected (lowest, highest) with 0 <= lowest <= highest <= 1."
        )
    return pair


def value_range(value: Any) -> tuple[float, float]:
    """Returns (lowest, highest) of pixel values, which float32 can tell apart."""
    pair = _pair(value)
    if pair is None or not pair[0] < pair[1]:
        raise ValueError(f"value_range is {value!r}; expected (lowest, highest), such as (0, 255).")
    largest = max(map(abs, pair))
    if not math.isfinite(largest) or largest > LARGEST_VALUE:
        raise ValueError(
            f"value_range is {value!r}; expected numbers within ±2**32, such as (0, 255)."
        )
    if pair[1] - pair[0] < 1e-3 * max(1.0, largest):
        raise ValueError(
            f"value_range is {value!r}; expected a wider range, such as (0, 255): float32 cannot "
            "tell enough values in it apart."
        )
    return pair


def side(value: Any, argument: str) -> int | None:
    """Returns None, or a side in pixels that the networks' padding allows."""
    if value is None:
        return None
    if not _is_integer(value) or value < 16:
        raise ValueError(f"{argument} is {value!r}; expected None or a side of at least 16 px.")
    return int(value)


def integer(value: Any, argument: str) -> int | None:
    """Returns None, or an int."""
    if value is not None and not _is_integer(value):
        raise ValueError(f"{argument} is {value!r}; expected None or an integer.")
    return None if value is None else int(value)


def truth(value: Any, argument: str) -> bool:
    """Returns a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{argument} is {value!r}; expected True or False.")
    return bool(value)


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real)


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
