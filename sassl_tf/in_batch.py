"""Styles from the other images of a batch."""

import tensorflow as tf

from sassl_tf.errors import UserError


def check_several(count: int | tf.Tensor, message: str) -> None:
    """Checks that a batch has another image for each of its images.

    Args:
        count: number of images. A tensor is checked once its value is known.
        message: of the error.

    Raises:
        ValueError: there are less than two; `tf.errors.InvalidArgumentError` where a graph finds
            it.
    """
    if isinstance(count, int) and count < 2:
        raise UserError(message)
    tf.debugging.assert_greater(count, 1, message)


def another_row(draws: tf.Tensor) -> tf.Tensor:
    """Returns for each row of a batch the number of another row, each equally likely.

    Args:
        draws: float [B] in [0, 1).

    Returns:
        int32 [B].
    """
    count = tf.size(draws)
    step = 1 + tf.cast(draws * tf.cast(count - 1, tf.float32), tf.int32)
    step = tf.minimum(step, count - 1)  # against rounding
    return (tf.range(count) + step) % count


def one_row(draws: tf.Tensor) -> tf.Tensor:
    """Returns the number of one row of a batch for all of its rows, each equally likely.

    Args:
        draws: float [B] in [0, 1). The first one decides.

    Returns:
        int32 [B], all equal.
    """
    count = tf.size(draws)
    row = tf.cast(draws[:1] * tf.cast(count, tf.float32), tf.int32)
    return tf.tile(tf.minimum(row, count - 1), [count])
