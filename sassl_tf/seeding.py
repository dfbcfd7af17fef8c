"""Reproducible draws: from seeds alone, and seeds that travel with the elements of a dataset."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.errors import UserError
from sassl_tf.typing import Array


def uniform(
    shape: tuple[int | tf.Tensor, ...],
    seed: Array,
    low: float | tf.Tensor = 0.0,
    high: float | tf.Tensor = 1.0,
) -> tf.Tensor:
    """Draws float32 from U(low, high), alike with and without XLA.

    Args:
        shape: of the result.
        seed: int32 [2]; the same seed gives the same draws.
        low, high: numbers, or float32 scalars.
    """
    # Bits of a named algorithm: XLA chooses another one, and makes other floats of the bits.
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )
    unit = tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32)
    return low + (high - low) * unit * 2.0**-24


def normal(shape: tuple[int | tf.Tensor, ...], seed: Array) -> tf.Tensor:
    """Draws float32 from N(0, 1), alike with and without XLA up to rounding.

    Args:
        shape: of the result.
        seed: int32 [2]; the same seed gives the same draws.
    """
    radii, angles = tf.unstack(uniform((2, *shape), seed))
    # Box and Muller's transform. The logarithm's argument is in (0, 1].
    return tf.sqrt(-2 * tf.math.log(1 - radii)) * tf.cos(2 * math.pi * angles)


def style_seeds(seed: Array) -> dict[str, tf.Tensor]:
    """Returns a seed for each draw of a style augmentation: "apply", "style", "alpha" and "beta".

    All style augmentations take theirs from here, so that under one seed they draw the same.

    Args:
        seed: int32 [2].
    """
    seeds = tf.unstack(tf.random.split(seed, 4, alg="philox"))
    return dict(zip(("apply", "style", "alpha", "beta"), seeds, strict=True))


def map_with_seeds(
    dataset: tf.data.Dataset, function: Callable[..., Any], seed: int
) -> tf.data.Dataset:
    """Maps in parallel, giving each element an int32 [2] seed of its own.

    The seed depends on `seed`, the element's position and how often the dataset was iterated. So
    the result is the same with any number of parallel calls, and keeps its order. Iterating again
    (`repeat`, or another epoch of a loop) gives new seeds, which are the same in every run. Seeds
    also depend on a global seed (`tf.random.set_seed`, `keras.utils.set_random_seed`), if one is
    set: keep it the same too.

    Args:
        dataset: a `tf.data.Dataset`.
        function: called as `function(element, seed=s)`, or `function(*element, seed=s)` where
            elements are tuples. It may be a `SASSLAugmentation` where elements are images or
            dicts; for (image, label) pairs write `lambda x, y, seed: (augment(x, seed=seed), y)`.
        seed: int.

    Returns:
        A `tf.data.Dataset`.

    Raises:
        ValueError: the seed is no integer.

    Example:

    ```python
    dataset = sassl_tf.map_with_seeds(dataset.batch(256), augment, seed=0)
    ```
    """
    if arguments.integer(seed, "seed") is None:
        raise UserError("seed is None; expected an integer, so that the draws are the same again.")
    numbers = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    seeds = numbers.batch(2, drop_remainder=True).map(lambda pair: tf.cast(pair, tf.int32))

    def with_seed(element: Any, seed: tf.Tensor) -> Any:
        if isinstance(element, tuple):
            return function(*element, seed=seed)
        return function(element, seed=seed)

    zipped = tf.data.Dataset.zip((dataset, seeds))
    return zipped.map(with_seed, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
