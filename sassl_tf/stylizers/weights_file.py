"""Files of a stylizer's weights: one safetensors file for F and T."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np

from sassl_tf.errors import FileError, UserError
from sassl_tf.files import local_file, replacing
from sassl_tf.paths import as_path
from sassl_tf.stylizers.named_weights import named_weights, set_named_weights
from sassl_tf.typing import PathLike

CHECKSUM = "sha256"  # of all tensors, in the file's metadata: the format has none


def save_weights(
    path: PathLike, name: str, networks: Iterable[keras.Model], dtype: str = "float32"
) -> None:
    """Writes the weights of Keras models and their checksum, beside `path`, then in its place.

    Args:
        path: a `.safetensors` file.
        name: of the stylizer; the file's metadata has it.
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
        save_file(arrays, beside, metadata={"stylizer": name, CHECKSUM: _checksum(arrays)})
        beside.chmod(0o644)  # safetensors makes files that only their owner can read


def load_weights(path: PathLike, name: str, networks: Sequence[keras.Model]) -> None:
    """Sets the weights of Keras models from a file of `save_weights`.

    Raises:
        ValueError: no such file, no safetensors file, or its tensors are not those that were saved
            (where it has a checksum), do not fit or are not finite.
    """
    from safetensors import SafetensorError, safe_open

    path = as_path(path)
    try:
        with local_file(path) as local:
            if not local.is_file():
                raise FileNotFoundError
            with safe_open(local, framework="numpy") as file:
                expected = (file.metadata() or {}).get(CHECKSUM)
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(
            f"The {name} stylizer's weights are not at {path}: expected a .safetensors file, as "
            "Stylizer.save writes it."
        ) from None
    except FileError:
        raise  # a bucket that does not answer
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged, or no safetensors file: {error}") from error
    if expected not in (None, _checksum(arrays)):
        raise UserError(
            f"{path} is damaged: its weights are not those that were saved, whose {CHECKSUM} is "
            f"{expected}. Take the file again from where it came from."
        )
    prefixes = {network.name for network in networks}
    strangers = [key for key in arrays if key.split("/")[0] not in prefixes]
    if strangers:
        raise UserError(
            f"{path} does not hold the {name} stylizer: unexpected {', '.join(strangers[:4])}."
        )
    for network in networks:
        prefix = f"{network.name}/"
        own = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        try:
            set_named_weights(network, own)
        except ValueError as error:
            raise UserError(f"{path} does not hold the {name} stylizer: {error}") from error


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
