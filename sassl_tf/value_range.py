"""Pixel values between the range that a user has them in and [0, 1]."""

import numpy as np
import tensorflow as tf


def to_unit_range(images: tf.Tensor, value_range: tuple[float, float]) -> tf.Tensor:
    """Brings images of any number type from a value range into [0, 1].

    Returns:
        float32 of the same shape. Values outside the range are clipped.
    """
    low, high = value_range
    unit = tf.cast(images, tf.float32)
    if (low, high) != (0, 1):  # each pass over the images counts
        unit = (unit - low) * (1 / (high - low)) if low else unit * (1 / high)
    fits = images.dtype == tf.uint8 and (low, high) == (0, 255)
    return unit if fits else tf.clip_by_value(unit, 0.0, 1.0)


def from_unit_range(
    unit: tf.Tensor, value_range: tuple[float, float], dtype: tf.DType
) -> tf.Tensor:
    """Brings images from [0, 1] into a value range and a dtype; integers are rounded."""
    low, high = value_range
    if (low, high) != (0, 1):
        unit = unit * (high - low) + low if low else unit * high
    return tf.saturate_cast(tf.round(unit), dtype) if dtype.is_integer else tf.cast(unit, dtype)


def value_range_problem(values: np.ndarray, value_range: tuple[float, float]) -> str | None:
    """Describes what is suspicious about pixel values under a value range.

    Args:
        values: array of pixels; NaN is passed over.
        value_range: (lowest, highest).

    Returns:
        A message for a warning, or None.
    """
    low, high = value_range
    smallest = float(np.fmin.reduce(values, axis=None))
    largest = float(np.fmax.reduce(values, axis=None))
    if smallest < low - 1e-3 or largest > high + 1e-3:
        return (
            f"The images have values from {smallest:g} to {largest:g}, outside "
            f"value_range=({low:g}, {high:g}): they will be clipped. Set value_range to the range "
            "of your images."
        )
    if high > 2 and 0 < largest <= 1:
        return (
            f"All values of the images are in [0, 1], but value_range is ({low:g}, {high:g}): they "
            "will be taken for nearly black. Set value_range=(0, 1)."
        )
    return None
