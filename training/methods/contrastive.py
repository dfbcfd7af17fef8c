"""The NT-Xent loss, and measures of projections that the methods report."""

import tensorflow as tf
from keras import ops

from training.engine.strategy import global_batch, replicas

_MASKED = -1e9


def normalize(z: tf.Tensor) -> tf.Tensor:
    """Scales rows to unit length, in float32."""
    return ops.normalize(ops.cast(z, "float32"), axis=-1)


def nt_xent(
    z_left: tf.Tensor, z_right: tf.Tensor, temperature: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes NT-Xent over the global batch (Chen et al. 2020, equation 1).

    Each of the 2N views is an anchor. Its positive is the other view of its image, and its
    negatives are the 2N - 2 views of other images.

    Args:
        z_left, z_right: this replica's projections, unit rows [n, D]; row i of both is image i.
        temperature: τ.

    Returns:
        The mean loss over this replica's 2n anchors, and the share of them whose positive is the
        nearest of all candidates.
    """
    n = ops.shape(z_left)[0]
    all_left, all_right = global_batch(z_left), global_batch(z_right)
    replica, _ = replicas()
    positions = replica * n + ops.arange(n)  # of this replica's images in the global batch
    own = ops.one_hot(positions, ops.shape(all_left)[0], dtype="float32")

    def one_side(anchors, positives, same_side):
        to_positives = ops.matmul(anchors, ops.transpose(positives)) / temperature  # n x N
        to_same_side = ops.matmul(anchors, ops.transpose(same_side)) / temperature  # n x N
        logits = ops.concatenate([to_positives, to_same_side + own * _MASKED], axis=1)  # n x 2N
        loss = ops.logsumexp(logits, axis=1) - ops.sum(to_positives * own, axis=1)
        nearest = ops.cast(ops.argmax(logits, axis=1), "int32")
        return ops.mean(loss), ops.mean(ops.cast(nearest == positions, "float32"))

    loss_left, accuracy_left = one_side(z_left, all_right, all_left)
    loss_right, accuracy_right = one_side(z_right, all_left, all_right)
    return (loss_left + loss_right) / 2, (accuracy_left + accuracy_right) / 2


def alignment(z_left: tf.Tensor, z_right: tf.Tensor) -> tf.Tensor:
    """Computes E ‖z - z⁺‖² over positive pairs (Wang & Isola 2020, α = 2); 0 is best."""
    return ops.mean(ops.sum(ops.square(z_left - z_right), axis=1))


def uniformity(z: tf.Tensor) -> tf.Tensor:
    """Computes log E exp(-2 ‖z - z'‖²) over pairs of different images (Wang & Isola 2020, t = 2).

    It is 0 if all points are the same. For points spread evenly over a sphere of many dimensions
    it approaches -4.
    """
    count = ops.shape(z)[0]
    squared_distances = 2 - 2 * ops.matmul(z, ops.transpose(z))
    others = 1 - ops.eye(count)
    pairs = ops.cast(count * (count - 1), "float32")
    return ops.log(ops.sum(ops.exp(-2 * squared_distances) * others) / pairs)


def spread(z: tf.Tensor) -> tf.Tensor:
    """Computes the standard deviation of unit rows over images, times √D (Chen & He 2020, fig. 2).

    It is 1 if they are spread evenly over the sphere, and 0 if all are the same, a collapse.
    """
    return ops.mean(ops.std(z, axis=0)) * z.shape[-1] ** 0.5
