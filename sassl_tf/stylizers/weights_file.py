"""Our own form of a stylizer's weights: one safetensors file for F and T."""

import pathlib

import numpy as np

from sassl_tf.files import replacing
from sassl_tf.stylizers.stylizer import named_weights, set_named_weights


def save_weights(path, name, networks, dtype="float32"):
    """Writes the weights of Keras models, beside `path` and then in its place.

    Args:
        path: a `.safetensors` file.
        name: the stylizer's, for whoever opens the file.
        networks: Keras models of different names.
        dtype: of the stored numbers.
    """
    from safetensors.numpy import save_file

    arrays = {
        f"{network.name}/{key}": np.ascontiguousarray(array, dtype)
        for network in networks
        for key, array in named_weights(network).items()
    }
    with replacing(path) as beside:
        save_file(arrays, beside, metadata={"stylizer": name})
        beside.chmod(0o644)  # safetensors makes files that only their owner can read


def load_weights(path, name, networks):
    """Sets the weights of Keras models from a file of `save_weights`.

    Raises:
        ValueError: no such file, no safetensors file, or its tensors do not fit or are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(
            f"The {name} stylizer's weights are not at {path}: expected a .safetensors file, as "
            "Stylizer.save writes it."
        )
    try:
        arrays = load(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from error
    prefixes = {network.name for network in networks}
    strangers = [key for key in arrays if key.split("/")[0] not in prefixes]
    if strangers:
        raise ValueError(
            f"{path} does not hold the {name} stylizer: unexpected {', '.join(strangers[:4])}."
        )
    for network in networks:
        prefix = f"{network.name}/"
        own = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        try:
            set_named_weights(network, own)
        except ValueError as error:
            raise ValueError(f"{path} does not hold the {name} stylizer: {error}") from error
