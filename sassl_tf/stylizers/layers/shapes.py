"""Static shapes of what the layers take and return. None is a size that is not known yet."""

from collections.abc import Callable
from typing import TypeAlias

ImageShape: TypeAlias = tuple[int | None, int | None, int | None, int]  # B, H, W, C
CodeShape: TypeAlias = tuple[int | None, int]  # B, code size


def resized(shape: ImageShape, change: Callable[[int], int], channels: int) -> ImageShape:
    """Returns the shape of an image after `change` of both its sides, with other channels."""
    batch, *sides, _ = shape
    height, width = (None if side is None else change(side) for side in sides)
    return (batch, height, width, channels)
