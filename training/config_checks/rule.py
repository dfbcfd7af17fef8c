"""Rules for the value of one field."""

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import Any

from sassl_tf.nearest import nearest


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule for the value of a field.

    Attributes:
        holds: function of a value; returns whether the value is allowed.
        expected: the allowed values, in words.
        known: the allowed values, if they can be listed.
    """

    holds: Callable
    expected: str
    known: tuple = ()

    def problem(self, name: str, value: Any) -> str | None:
        """Returns a message if the value is not allowed, else None."""
        if self.holds(value):
            return None
        return f"{name} is {value!r}; expected {self.expected}.{nearest(value, self.known)}"


def _is_number(value):
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def whole(least: int, most: float = math.inf) -> Rule:
    """Returns the rule for a whole number from `least` to `most`."""
    limit = f" to {most:,}" if most < math.inf else " upwards"
    return Rule(
        lambda x: _is_number(x) and isinstance(x, numbers.Integral) and least <= int(x) <= most,
        f"a whole number from {least}{limit}",
    )


def number(least: float, most: float = math.inf, above: bool = False) -> Rule:
    """Returns the rule for a finite number from `least` to `most`; with `above`, above `least`."""
    limit = f" and at most {most:,}" if most < math.inf else ""
    return Rule(
        lambda x: _is_number(x) and least <= x <= most and not (above and x == least),
        f"a number {'above' if above else 'of at least'} {least}{limit}",
    )


def bounds(least: float, most: float = math.inf, above: bool = False) -> Rule:
    """Returns the rule for (lowest, highest), or one number that is both; see `number`."""
    one = number(least, most, above)

    def holds(value):
        pair = value if isinstance(value, (tuple, list)) else (value, value)
        return len(pair) == 2 and all(map(one.holds, pair)) and pair[0] <= pair[1]

    return Rule(holds, f"(lowest, highest), each {one.expected}, the lower number first")


def one_of(*known: str) -> Rule:
    """Returns the rule for a word that is one of several."""
    listed = ", ".join(repr(word) for word in known)
    return Rule(lambda x: isinstance(x, str) and x in known, f"one of {listed}", known)
