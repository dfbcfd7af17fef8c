"""Magenta's arbitrary-image-stylization-v1-256, written a second time to check the library's.

    python -m tests.stylizers.hub_module FOLDER

writes a SavedModel of the Hub module's form. It has the real graph's operations and sizes, so its
speed is representative; its weights are made up, so its pictures are not. It stands in for the real
module where nobody has the real weights.

Plain TensorFlow operations, in the order in which slim puts them, and nothing of the library.
"""

import functools
import math
import zlib

import numpy as np
import tensorflow as tf
from absl import app

CODE_SIZE = 100
RESIDUAL = [f"residual/residual{i}/conv{j}" for i in range(1, 6) for j in (1, 2)]
STYLED = {  # the layers with a StyleNorm, and their channels
    **dict.fromkeys(RESIDUAL, 128),
    "expand/conv1/conv": 64,
    "expand/conv2/conv": 32,
    "expand/conv3/conv": 3,
}


def stylize(variables, content, style):
    """Images [B, 4·ceil(H/4), 4·ceil(W/4), 3]; `style` is one image or as many as `content`."""
    return _graph(_reading(variables), content, style)


def code(variables, style):
    """Codes [B, 100]."""
    return tf.squeeze(_bottleneck(_reading(variables), style), [1, 2])


def made_up_variables():
    """{name: float32 array} of all variables, in the module's order."""
    made = {}

    def make(name, shape):
        made[name] = _made_up(name, shape)
        return tf.zeros(shape)

    with tf.Graph().as_default():
        image = tf.compat.v1.placeholder(tf.float32, [None, None, None, 3])
        _graph(make, image, image)
    return made


def save_hub_module(folder, arrays, compute=None):
    """Writes a SavedModel whose `variables` are `arrays`, right or wrong ones.

    Its graph reads them, unless `compute` is a function of content and style that it computes.
    """
    module = tf.train.Checkpoint()
    variables = _variables(arrays)
    module.variables = list(variables.values())
    compute = compute or functools.partial(_graph, _reading(variables))
    ends = []

    def graph(content, style):
        ends.extend([[content, style], [compute(content, style)]])
        return ends[1]

    # As the original was exported: what is loaded is one bare graph, which takes only tensors.
    images = [
        tf.TensorSpec([None, None, None, 3], tf.float32, name)
        for name in ("placeholder", "placeholder_1")
    ]
    module.__call__ = tf.compat.v1.wrap_function(graph, images).prune(*ends)
    tf.saved_model.save(module, str(folder), signatures=module.__call__)


def something_else(content, style):
    """A graph of the right form that stylizes nothing."""
    return (content + tf.reduce_mean(style)) / 2


def _variables(arrays):
    return {name: tf.Variable(array, trainable=False, name=name) for name, array in arrays.items()}


def _made_up(name, shape):
    random = np.random.default_rng(zlib.crc32(name.encode()))
    array = random.standard_normal(shape)
    kind = name.rsplit("/", 1)[1]
    if kind == "weights":
        array = array * math.sqrt(2 / math.prod(shape[:-1]))
    elif kind == "moving_variance":
        array = 0.5 + random.random(shape)
    elif kind == "biases" and name.startswith("style_params/") and "/Conv_1/" in name:
        array = 1 + 0.1 * array
    else:
        array = 0.1 * array
    return array.astype(np.float32)


# The graph. `parameter(name, shape)` gives a tensor; the order of the calls is the module's order.


def _reading(variables):
    return lambda name, shape: tf.convert_to_tensor(variables[name])


def _graph(parameter, content, style):
    bottleneck = _bottleneck(parameter, style)
    betas_gammas = {
        layer: _heads(parameter, bottleneck, layer, channels) for layer, channels in STYLED.items()
    }
    return _transformer(parameter, content, betas_gammas)


def _convolution(parameter, x, scope, kernel, channels, stride=1, padding="SAME"):
    weights = parameter(f"{scope}/weights", [*kernel, x.shape[-1], channels])
    return tf.nn.conv2d(x, weights, stride, padding)


def _batch_norm(parameter, x, scope):
    shape = [x.shape[-1]]
    beta, mean, variance = (
        parameter(f"{scope}/BatchNorm/{name}", shape)
        for name in ("beta", "moving_mean", "moving_variance")
    )
    return tf.compat.v1.nn.fused_batch_norm(
        x, tf.ones(shape), beta, mean, variance, epsilon=1e-3, is_training=False
    )[0]


def _linear(parameter, x, scope, channels):
    h = _convolution(parameter, x, scope, (1, 1), channels)
    return tf.nn.bias_add(h, parameter(f"{scope}/biases", [channels]))


# The style predictor: Inception v3 up to Mixed_6e, the mean, two linear layers.


def _bottleneck(parameter, style):
    x = _inception(parameter, style)
    return _linear(parameter, tf.reduce_mean(x, [1, 2], keepdims=True), "Conv", CODE_SIZE)


def _heads(parameter, bottleneck, layer, channels):
    """β and γ [B, 1, 1, C] of a layer."""
    scope = f"style_params/transformer/{layer}/StyleNorm"
    return [
        tf.debugging.check_numerics(
            _linear(parameter, bottleneck, f"{scope}/{head}", channels), head
        )
        for head in ("Conv", "Conv_1")
    ]


def _inception(parameter, x):
    def layer(x, scope, kernel, channels, stride=1, padding="SAME"):
        scope = f"InceptionV3/{scope}"
        x = _convolution(parameter, x, scope, kernel, channels, stride, padding)
        return tf.nn.relu6(_batch_norm(parameter, x, scope))

    def layers(x, scope, *steps):
        for name, kernel, channels in steps:
            x = layer(x, f"{scope}/{name}", kernel, channels)
        return x

    def mean(x):
        return tf.nn.avg_pool2d(x, 3, 1, "SAME")

    def halved(x):
        return tf.nn.max_pool2d(x, 3, 2, "VALID")

    def mixed_5(x, scope, pooled, middle=("Conv2d_0a_1x1", "Conv2d_0b_5x5")):
        branches = [
            layers(x, f"{scope}/Branch_0", ("Conv2d_0a_1x1", (1, 1), 64)),
            layers(x, f"{scope}/Branch_1", (middle[0], (1, 1), 48), (middle[1], (5, 5), 64)),
            layers(
                x,
                f"{scope}/Branch_2",
                ("Conv2d_0a_1x1", (1, 1), 64),
                ("Conv2d_0b_3x3", (3, 3), 96),
                ("Conv2d_0c_3x3", (3, 3), 96),
            ),
            layers(mean(x), f"{scope}/Branch_3", ("Conv2d_0b_1x1", (1, 1), pooled)),
        ]
        return tf.concat(branches, 3)

    def mixed_6a(x):
        wide = layer(x, "Mixed_6a/Branch_0/Conv2d_1a_1x1", (3, 3), 384, 2, "VALID")
        narrow = layers(
            x, "Mixed_6a/Branch_1", ("Conv2d_0a_1x1", (1, 1), 64), ("Conv2d_0b_3x3", (3, 3), 96)
        )
        narrow = layer(narrow, "Mixed_6a/Branch_1/Conv2d_1a_1x1", (3, 3), 96, 2, "VALID")
        return tf.concat([wide, narrow, halved(x)], 3)

    def mixed_6(x, scope, width):
        branches = [
            layers(x, f"{scope}/Branch_0", ("Conv2d_0a_1x1", (1, 1), 192)),
            layers(
                x,
                f"{scope}/Branch_1",
                ("Conv2d_0a_1x1", (1, 1), width),
                ("Conv2d_0b_1x7", (1, 7), width),
                ("Conv2d_0c_7x1", (7, 1), 192),
            ),
            layers(
                x,
                f"{scope}/Branch_2",
                ("Conv2d_0a_1x1", (1, 1), width),
                ("Conv2d_0b_7x1", (7, 1), width),
                ("Conv2d_0c_1x7", (1, 7), width),
                ("Conv2d_0d_7x1", (7, 1), width),
                ("Conv2d_0e_1x7", (1, 7), 192),
            ),
            layers(mean(x), f"{scope}/Branch_3", ("Conv2d_0b_1x1", (1, 1), 192)),
        ]
        return tf.concat(branches, 3)

    x = layer(x, "Conv2d_1a_3x3", (3, 3), 32, 2, "VALID")
    x = layer(x, "Conv2d_2a_3x3", (3, 3), 32, 1, "VALID")
    x = layer(x, "Conv2d_2b_3x3", (3, 3), 64)
    x = halved(x)
    x = layer(x, "Conv2d_3b_1x1", (1, 1), 80, 1, "VALID")
    x = layer(x, "Conv2d_4a_3x3", (3, 3), 192, 1, "VALID")
    x = halved(x)
    x = mixed_5(x, "Mixed_5b", 32)
    x = mixed_5(x, "Mixed_5c", 64, middle=("Conv2d_0b_1x1", "Conv_1_0c_5x5"))
    x = mixed_5(x, "Mixed_5d", 64)
    x = mixed_6a(x)
    x = mixed_6(x, "Mixed_6b", 128)
    x = mixed_6(x, "Mixed_6c", 160)
    x = mixed_6(x, "Mixed_6d", 160)
    return mixed_6(x, "Mixed_6e", 192)


# The stylization network.


def _transformer(parameter, x, betas_gammas):
    def convolution(x, layer, size, channels, stride=1):
        edge = [size // 2, size // 2]
        x = tf.pad(x, [[0, 0], edge, edge, [0, 0]], "REFLECT")
        scope = f"transformer/{layer}"
        return _convolution(parameter, x, scope, (size, size), channels, stride, "VALID")

    def contract(x, layer, size, channels, stride):
        x = convolution(x, layer, size, channels, stride)
        return tf.nn.relu(_batch_norm(parameter, x, f"transformer/{layer}"))

    def styled(x, layer, size):
        x = convolution(x, layer, size, STYLED[layer])
        mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, *betas_gammas[layer], 1e-5)

    def residual(x, scope):
        h = tf.nn.relu(styled(x, f"{scope}/conv1", 3))
        return x + styled(h, f"{scope}/conv2", 3)

    def expand(x, layer, size, factor):
        # Magenta resizes before its last layer too, by a factor of one.
        sides = factor * tf.shape(x)[1:3]
        x = tf.raw_ops.ResizeNearestNeighbor(images=x, size=sides)
        return styled(x, layer, size)

    x = contract(x, "contract/conv1", 9, 32, 1)
    x = contract(x, "contract/conv2", 3, 64, 2)
    x = contract(x, "contract/conv3", 3, 128, 2)
    for block in range(1, 6):
        x = residual(x, f"residual/residual{block}")
    x = tf.nn.relu(expand(x, "expand/conv1/conv", 3, 2))
    x = tf.nn.relu(expand(x, "expand/conv2/conv", 3, 2))
    return tf.sigmoid(expand(x, "expand/conv3/conv", 9, 1))


def main(arguments):
    if len(arguments) != 2:
        raise app.UsageError("Expected one folder to write the module to.")
    save_hub_module(arguments[1], made_up_variables())


if __name__ == "__main__":
    app.run(main)
