"""Magenta's arbitrary-image-stylization v1-256, the stylizer of the paper (Ghiasi et al. 2017).

Its 359 variables, by the names of the TF1 graph, become the weights of two Keras models.
`sassl_tf.stylizers.magenta_sources` reads them from files and from the network.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import keras
import numpy as np

from sassl_tf.errors import UserError
from sassl_tf.stylizers.inception import MIN_SIDE, inception_style_network
from sassl_tf.stylizers.layers import StyleNorm
from sassl_tf.stylizers.named_weights import misfit, set_named_weights
from sassl_tf.stylizers.precision import float32_policy
from sassl_tf.stylizers.stylizer import Stylizer
from sassl_tf.stylizers.transfer_network import transfer_network
from sassl_tf.stylizers.weights_file import load_weights
from sassl_tf.typing import PathLike

STYLE_SIZE = 256  # px; the side of the style images that it was trained with
BATCH_NORM_EPSILON = 1e-3
_HEADS = {"beta": "Conv", "gamma": "Conv_1"}  # of StyleNorm, in style_params/
_Networks: TypeAlias = tuple[keras.Model, keras.Model]  # F and T


def stylizer_from_variables(arrays: Mapping[str, np.ndarray]) -> Stylizer:
    """Makes the "magenta" stylizer from the variables of v1-256.

    Args:
        arrays: {name: array}, by the names of Magenta's graph (a ":0" at the end does not
            matter), such as "InceptionV3/Conv2d_1a_3x3/weights".

    Returns:
        A `Stylizer`. `Stylizer.save` writes it to a file for `load_stylizer`.

    Raises:
        ValueError: names what is missing, unexpected, of another shape or not finite.
    """
    return build(arrays, "The given variables")


def build(variables: Mapping[str, np.ndarray], origin: str, source: str | None = None) -> Stylizer:
    """Does what `stylizer_from_variables` does.

    Args:
        variables: as there.
        origin: of the variables, for errors.
        source: of the stylizer: what `load_stylizer` takes to load it again.
    """
    arrays = {name.removesuffix(":0"): np.asarray(array) for name, array in variables.items()}
    networks = _networks()
    if problem := misfit(_shapes(networks), arrays):
        raise UserError(f"{origin} are not those of arbitrary-image-stylization-v1-256: {problem}.")
    for network in networks:
        weights = {}
        for layer, scope in _scopes(network):
            for name, array in _layer_weights(layer, scope, arrays).items():
                weights[f"{layer.name}/{name}"] = array
        set_named_weights(network, weights)
    return _stylizer(networks, source)


def from_safetensors(path: PathLike) -> Stylizer:
    """Loads the stylizer that `Stylizer.save` wrote."""
    networks = _networks()
    load_weights(path, "magenta", networks)
    return _stylizer(networks, str(path))


def variable_names() -> list[str]:
    """Returns the names of all 359 variables."""
    return list(_shapes(_networks()))


def _networks() -> _Networks:
    with float32_policy():
        return inception_style_network(), transfer_network()


def _stylizer(networks: _Networks, source: str | None) -> Stylizer:
    style, transfer = networks
    return Stylizer("magenta", style, transfer, STYLE_SIZE, min_side=MIN_SIDE, source=source)


def _scopes(network: keras.Model) -> Iterator[tuple[keras.layers.Layer, str]]:
    """Yields every layer that has weights, with its scope in Magenta's graph."""
    for layer in network.layers:
        if layer.weights:
            scope = layer.name.replace(".", "/")
            if isinstance(layer, StyleNorm):
                scope = f"style_params/transformer/{scope}"
            elif network.name == "transfer_network":
                scope = f"transformer/{scope}"
            yield layer, scope


def _shapes(networks: _Networks) -> dict[str, tuple[int, ...]]:
    """Returns {name: shape} of the variables."""
    shapes = {}
    for network in networks:
        for layer, scope in _scopes(network):
            if isinstance(layer, StyleNorm):
                for head in _HEADS.values():
                    shapes[f"{scope}/{head}/weights"] = (1, 1, *layer.gamma_kernel.shape)
                    shapes[f"{scope}/{head}/biases"] = layer.gamma_bias.shape
            elif isinstance(layer, keras.layers.Dense):
                shapes[f"{scope}/weights"] = (1, 1, *layer.kernel.shape)
                shapes[f"{scope}/biases"] = layer.bias.shape
            else:
                shapes[f"{scope}/weights"] = layer.kernel.shape
                if _has_batch_norm(layer):
                    for name in ("beta", "moving_mean", "moving_variance"):
                        shapes[f"{scope}/BatchNorm/{name}"] = layer.bias.shape
    return shapes


def _layer_weights(
    layer: keras.layers.Layer, scope: str, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns {weight name: array} of a layer."""
    if isinstance(layer, StyleNorm):
        weights = {}
        for part, head in _HEADS.items():
            weights[f"{part}_kernel"] = arrays[f"{scope}/{head}/weights"][0, 0]
            weights[f"{part}_bias"] = arrays[f"{scope}/{head}/biases"]
        return weights
    kernel = arrays[f"{scope}/weights"]
    if isinstance(layer, keras.layers.Dense):
        return {"kernel": kernel[0, 0], "bias": arrays[f"{scope}/biases"]}
    if not _has_batch_norm(layer):
        return {"kernel": kernel}
    beta, mean, variance = (
        arrays[f"{scope}/BatchNorm/{name}"].astype(np.float64)
        for name in ("beta", "moving_mean", "moving_variance")
    )
    scale = 1 / np.sqrt(variance + BATCH_NORM_EPSILON)
    return {"kernel": kernel * scale, "bias": beta - mean * scale}


def _has_batch_norm(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer has a bias, which is the batch normalisation folded into it."""
    return len(layer.weights) == 2
