"""The differences between student and teacher that the distillation makes small.

Each term is a logarithm of a relative error, so that none outweighs the others by its scale.
"""

import keras
import numpy as np
import tensorflow as tf

from sassl_tf.stylizers import Stylizer

SMALLEST_ERROR = 1e-5  # squared; a smaller one (50 dB of T's picture) is not rewarded further
_EPSILON = 1e-6


def style_heads(teacher: Stylizer) -> np.ndarray:
    """Returns the matrix [code_size, N] from a code to all γ and β of the teacher's T.

    The biases are left out.
    """
    layers = [layer for layer in teacher.transfer_network.layers if "StyleNorm" in layer.name]
    kernels = [k.numpy() for layer in layers for k in (layer.gamma_kernel, layer.beta_kernel)]
    return np.concatenate(kernels, axis=1)


def feature_network(style_network: keras.Model) -> keras.Model:
    """Returns a model from images to four feature maps of the teacher's F and to the code."""
    depths = ("expanded_conv", "expanded_conv_2", "expanded_conv_5", "expanded_conv_9")
    layers = [style_network.get_layer(f"{name}.project") for name in depths]
    outputs = [*(layer.output for layer in layers), style_network.output]
    return keras.Model(style_network.input, outputs)


def code_loss(
    codes: tf.Tensor, targets: tf.Tensor, heads: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Compares codes as they are, and as T feels them through its γ and β.

    Args:
        codes, targets: [B, code_size], of the student's F and of the teacher's.
        heads: what `style_heads` returns.

    Returns:
        The loss, and the relative error of γ and β; scalars.
    """
    difference, centred = codes - targets, targets - tf.reduce_mean(targets, axis=0)
    pairs = (difference, centred), (difference @ heads, centred @ heads)
    errors = [tf.reduce_mean(tf.square(d)) / tf.reduce_mean(tf.square(c)) for d, c in pairs]
    return tf.math.log(errors[0]) + tf.math.log(errors[1]), errors[1]


def pixel_loss(pictures: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean logarithm of the squared error, and the squared error of each image [B]."""
    error = tf.reduce_mean(tf.square(pictures - targets), axis=(1, 2, 3))
    return tf.reduce_mean(tf.math.log(error + SMALLEST_ERROR)), error


def texture_loss(
    pictures: tf.Tensor, targets: tf.Tensor, features: keras.Model
) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Compares what a mean squared error averages away: fine detail, and the style that F sees.

    Args:
        pictures, targets: [B, H, W, 3] in [0, 1], of the student's T and of the teacher's.
        features: what `feature_network` returns.

    Returns:
        The loss, and three measures to report: the median relative error of the fine detail, the
        median ratio of its energy to the teacher's, and the relative error of the teacher's codes.
    """
    detail, energy = _detail(high_pass(pictures), high_pass(targets))
    *maps, code = features(pictures)
    *target_maps, target_code = features(targets)
    pairs = [*zip(maps, target_maps, strict=True)]
    map_errors = [tf.reduce_mean(_relative_error(x, y)) for x, y in pairs]
    pairs = [*((statistics(x), statistics(y)) for x, y in pairs), (code, target_code)]
    style_errors = [_error_of_rows(x, y) for x, y in pairs]
    loss = (
        0.5 * tf.reduce_mean(tf.math.log(detail))
        # Of the weights that were tried, this one keeps the energy of fine detail at α = 1.
        + 2.0 * tf.reduce_mean(tf.square(energy))
        + 0.25 * tf.reduce_mean(tf.math.log(tf.stack(map_errors)))
        + 0.5 * tf.reduce_mean(tf.math.log(tf.stack(style_errors)))
    )
    return loss, (_median(detail), tf.exp(_median(energy)), style_errors[-1])


def high_pass(images: tf.Tensor) -> tf.Tensor:
    """Returns images less the mean of the 3×3 pixels around each pixel."""
    return images - tf.nn.avg_pool2d(images, 3, 1, "SAME")


def statistics(features: tf.Tensor) -> tf.Tensor:
    """Returns mean and standard deviation of each channel of [B, H, W, C], as [B, 2 C]."""
    mean, variance = tf.nn.moments(features, (1, 2))
    return tf.concat([mean, tf.sqrt(variance + 1e-4)], axis=1)


def _detail(ours, theirs):
    """Returns each image's relative error of fine detail, and the logarithm of its energy ratio."""
    ratio = (_energy(ours) + _EPSILON) / (_energy(theirs) + _EPSILON)
    return _relative_error(ours, theirs), tf.math.log(ratio)


def _energy(images):
    """Returns the mean square of each image, [B]."""
    return tf.reduce_mean(tf.square(images), axis=(1, 2, 3))


def _relative_error(values, targets):
    """Returns the squared error of each image, relative to the energy of its target, [B]."""
    return (_energy(values - targets) + _EPSILON) / (_energy(targets) + _EPSILON)


def _error_of_rows(rows, targets):
    """Returns the squared error of rows [B, N], relative to the variance of the targets."""
    variance = tf.math.reduce_variance(targets, axis=0)
    return tf.reduce_mean(tf.square(rows - targets)) / (tf.reduce_mean(variance) + _EPSILON)


def _median(values):
    return tf.sort(values)[tf.size(values) // 2]
