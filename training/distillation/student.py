"""The student's two networks, with the teacher's weights wherever the shapes agree."""

import keras
import numpy as np

from sassl_tf.stylizers import Stylizer
from sassl_tf.stylizers.compact import compact_style_network, compact_transfer_network
from sassl_tf.stylizers.layers import PATCH
from sassl_tf.stylizers.patches import patch_kernel, placement, upsampled_placement
from sassl_tf.stylizers.transfer_network import RESIDUAL_BLOCKS


def style_network_from(teacher: Stylizer) -> keras.Model:
    """Returns the student's F, with all weights of its teacher's F."""
    network = compact_style_network()
    network.set_weights(teacher.style_network.get_weights())
    return network


def transfer_network_from(teacher: Stylizer) -> keras.Model:
    """Returns the student's T, with the teacher's weights wherever the shapes agree.

    The contraction, the trunk and the first step of the expansion compute what the teacher's do.
    The rest of the expansion begins at random.
    """
    network, source = compact_transfer_network(), teacher.transfer_network
    _copy_contraction(network, source)
    _copy_trunk(network, source)
    _copy_expansion(network, source)
    return network


def _copy_contraction(network, source):
    for number, size, side, stride in ((1, 9, PATCH, 1), (2, 3, PATCH, 2), (3, 3, 2, 2)):
        taps, bias = source.get_layer(f"contract.conv{number}").get_weights()
        dense = patch_kernel(taps, placement(size, size // 2, side, stride))
        pixels = (side // stride) ** 2
        network.get_layer(f"contract{number}").set_weights([dense, np.tile(bias, pixels)])


def _copy_trunk(network, source):
    for block in range(1, RESIDUAL_BLOCKS + 1):
        for conv in ("conv1", "conv2"):
            theirs, ours = f"residual.residual{block}.{conv}", f"block{block}_{conv}"
            network.get_layer(ours).set_weights([_kernel(source, theirs)])
            heads = source.get_layer(f"{theirs}.StyleNorm").get_weights()
            network.get_layer(f"{ours}_style").set_weights(heads)


def _copy_expansion(network, source):
    dense = patch_kernel(_kernel(source, "expand.conv1.conv"), upsampled_placement(1))
    network.get_layer("expand1").set_weights([dense])
    heads = source.get_layer("expand.conv1.conv.StyleNorm").get_weights()
    heads = [np.tile(head, (1,) * (head.ndim - 1) + (4,)) for head in heads]
    network.get_layer("expand1_style").set_weights(heads)
    heads = source.get_layer("expand.conv3.conv.StyleNorm").get_weights()
    network.get_layer("output_style").set_weights(heads)


def _kernel(network, layer):
    return network.get_layer(layer).get_weights()[0]
