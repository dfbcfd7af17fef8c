"""Checks of arguments. Each returns the value in one form, or raises a ValueError."""

import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np

from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest

LARGEST_VALUE = 2.0**32  # of a pixel; float32 and its squares are far from overflowing


def fraction(value: Any, argument: str) -> float:
    """Returns a float in [0, 1]."""
    if not _is_real(value) or not 0 <= value <= 1:
        raise UserError(f"{argument} is {value!r}; expected a number in [0, 1].")
    return float(value)


def positive_fraction(value: Any, argument: str) -> float:
    """Returns a float in (0, 1]."""
    if not _is_real(value) or not 0 < value <= 1:
        raise UserError(f"{argument} is {value!r}; expected a number in (0, 1].")
    return float(value)


def _pair(value: Any) -> tuple[float, float] | None:
    """Returns two floats, or None where the value is something else."""
    if isinstance(value, (str, bytes)):  # "01" would be 0 and 1
        return None
    try:
        low, high = value
        if isinstance(low, bool) or isinstance(high, bool):
            return None
        return float(low), float(high)
    except (TypeError, ValueError, OverflowError):
        return None


def factor_range(value: Any, argument: str) -> tuple[float, float]:
    """Returns (lowest, highest) in [0, 1]; a single number is both."""
    pair = _pair((value, value) if _is_real(value) else value)
    if pair is None or not 0 <= pair[0] <= pair[1] <= 1:
        raise UserError(
            f"{argument} is {value!r}; expected (lowest, highest) with 0 <= lowest <= highest <= 1."
        )
    return pair


def positive_range(value: Any, argument: str, highest: float = math.inf) -> tuple[float, float]:
    """Returns (lowest, highest), both finite and above 0; a single number is both."""
    pair = _pair((value, value) if _is_real(value) else value)
    if pair is None or not 0 < pair[0] <= pair[1] <= highest or math.isinf(pair[1]):
        limit = f" <= {highest:g}" if highest < math.inf else ""
        raise UserError(
            f"{argument} is {value!r}; expected (lowest, highest) with 0 < lowest <= highest"
            f"{limit}."
        )
    return pair


def strength(value: Any, argument: str, highest: float = math.inf) -> float:
    """Returns a finite float from 0 to `highest`."""
    if not _is_real(value) or not 0 <= value <= highest or math.isinf(value):
        limit = f"in [0, {highest:g}]" if highest < math.inf else "of at least 0"
        raise UserError(f"{argument} is {value!r}; expected a number {limit}.")
    return float(value)


def choice(value: Any, argument: str, known: Iterable[str]) -> str:
    """Returns one of the words in `known`."""
    if not isinstance(value, str) or value not in known:
        listed = ", ".join(repr(word) for word in known)
        raise UserError(
            f"{argument} is {value!r}; expected one of {listed}."
            f"{nearest(value, known) if isinstance(value, str) else ''}"
        )
    return value


def value_range(value: Any) -> tuple[float, float]:
    """Returns (lowest, highest) of pixel values, which float32 can tell apart."""
    pair = _pair(value)
    if pair is None or not pair[0] < pair[1]:
        raise UserError(f"value_range is {value!r}; expected (lowest, highest), such as (0, 255).")
    largest = max(map(abs, pair))
    if not math.isfinite(largest) or largest > LARGEST_VALUE:
        raise UserError(
            f"value_range is {value!r}; expected numbers within ±2**32, such as (0, 255)."
        )
    if pair[1] - pair[0] < 1e-3 * max(1.0, largest):
        raise UserError(
            f"value_range is {value!r}; expected a wider range, such as (0, 255): float32 cannot "
            "tell enough values in it apart."
        )
    return pair


def side(value: Any, argument: str) -> int | None:
    """Returns None, or a side in pixels that the networks' padding allows."""
    if value is None:
        return None
    if not _is_integer(value) or value < 16:
        raise UserError(f"{argument} is {value!r}; expected None or a side of at least 16 px.")
    return int(value)


def integer(value: Any, argument: str) -> int | None:
    """Returns None, or an int."""
    if value is not None and not _is_integer(value):
        raise UserError(f"{argument} is {value!r}; expected None or an integer.")
    return None if value is None else int(value)


def count(value: Any, argument: str) -> int:
    """Returns a whole number from 0 on."""
    if not _is_integer(value) or value < 0:
        raise UserError(f"{argument} is {value!r}; expected a whole number of at least 0.")
    return int(value)


def pixels(value: Any, argument: str) -> int:
    """Returns a whole number of pixels from 1 on."""
    if not _is_integer(value) or value < 1:
        raise UserError(f"{argument} is {value!r}; expected a whole number of at least 1 px.")
    return int(value)


def odd(value: Any, argument: str) -> int | None:
    """Returns None, or an odd number from 1 on."""
    if value is not None and (not _is_integer(value) or value < 1 or value % 2 == 0):
        raise UserError(f"{argument} is {value!r}; expected None or an odd number from 1 on.")
    return None if value is None else int(value)


def truth(value: Any, argument: str) -> bool:
    """Returns a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise UserError(f"{argument} is {value!r}; expected True or False.")
    return bool(value)


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
