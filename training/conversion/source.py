"""The images that a conversion copies, one after the other."""

from collections.abc import Iterator
from typing import NamedTuple


class Source(NamedTuple):
    """The images of a dataset as they are stored.

    Attributes:
        class_names: one name per label; empty where labels are numbers alone, or absent.
        examples: yields (split, label, encoded image); the label is -1 if there is none, and the
            split is "train", "test", "validation" or "val".
    """

    class_names: list[str]
    examples: Iterator[tuple[str, int, bytes]]
