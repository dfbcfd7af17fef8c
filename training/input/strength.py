"""The strength of a style augmentation over a training: ranges of α and β that move linearly."""

from typing import Any

import tensorflow as tf
from ml_collections import ConfigDict

from training.styles import NONE, style_of

_END = "_end"  # of the field with a factor's range at the last step


def ends_of(config: ConfigDict) -> dict[str, tuple[float, float]]:
    """Returns {factor: its (lowest, highest) at the last step} of the factors that move."""
    style = style_of(config)
    section = {} if style == NONE else config[style]
    fields = (name for name in section if name.endswith(_END) and section[name])
    return {name.removesuffix(_END): _pair(section[name]) for name in fields}


def ranges_at(config: ConfigDict, step: tf.Tensor, total_steps: int) -> dict[str, Any]:
    """Computes the ranges of the factors that move, for the batch of a step.

    They are those of the config's `FACTOR` at the first batch (step 0), those of `FACTOR_end` at
    the last one, and linear in between.

    Args:
        config: see `training/configs`.
        step: int64 scalar, from 0 on.
        total_steps: number of batches of the whole training.

    Returns:
        {factor: (lowest, highest)}, float32 scalars; {} if no factor moves.
    """
    section = config[style_of(config)] if (ends := ends_of(config)) else {}
    progress = tf.cast(step, tf.float32) / max(1, total_steps - 1)
    progress = tf.minimum(progress, 1.0)  # batches are made ahead
    return {
        factor: tuple(
            (1 - progress) * first + progress * last
            for first, last in zip(_pair(section[factor]), end, strict=True)
        )
        for factor, end in ends.items()
    }


def _pair(value: Any) -> tuple[float, float]:
    """Returns (lowest, highest) of a range; one number is both."""
    low, high = value if isinstance(value, (tuple, list)) else (value, value)
    return float(low), float(high)
