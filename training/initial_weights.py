"""Weights to start from: those of an encoder that is there, or of a preset of KerasHub."""

import collections
import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping

import keras
import numpy as np
from keras import ops

from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.errors import NetworkError, UserError
from sassl_tf.extras import import_extra
from sassl_tf.files import local_file, short_reason
from sassl_tf.presets import HUGGING_FACE, KAGGLE, encoder_file, load_encoder
from sassl_tf.vit import PATCH_LAYER, TOKEN_LAYER, interpolated
from training.encoders import all_layers
from training.resnets import KERAS_HUB

POSITIONS, TOKEN = "positions/table", f"{TOKEN_LAYER}/token"
LISTED = 5  # weights of each kind that do not fit

Shape = tuple[int, ...]


def initialize(encoder: keras.Model, source: str) -> None:
    """Gives an encoder the weights of another one of the same architecture.

    A vision transformer's positions are interpolated where the other one has them for images of
    another size.

    Args:
        encoder: a built Keras model; nothing is changed unless all weights fit.
        source: a workdir, a `.keras` file or a preset, as `sassl_tf.load_encoder` takes them; or
            "keras_hub:NAME", a preset of a KerasHub backbone.

    Raises:
        ValueError: there is no such encoder, or weights do not fit; the message lists them.
        ConnectionError: the preset cannot be downloaded.
        ImportError: KerasHub is asked for and not installed.
    """
    kind, found = _of_keras_hub(source) if source.startswith(KERAS_HUB) else _of_file(source)
    weights = _named_weights(encoder)
    differences = _differences(
        {name: value.shape for name, value in found.items()},
        {name: tuple(weight.shape) for name, weight in weights.items()},
    )
    if differences:
        listed = "\n  ".join(differences)
        raise UserError(
            f"encoder.init_from is {source!r}, a {kind} of {len(found)} weights. They do not fit "
            f"{encoder.name}, which has {len(weights)}:\n  {listed}\n"
            "Set config.encoder as it was when they were trained, or give another "
            "encoder.init_from."
        )
    for name, weight in weights.items():
        value = found[name]
        weight.assign(_resized(value, weight.shape) if name == POSITIONS else value)


def fingerprint(source: str) -> str:
    """Returns a short hexadecimal hash of the weights to start from.

    Of a file it is one of the content, wherever it lies; of a preset on a hub, one of its name.

    Args:
        source: as for `initialize`.

    Raises:
        ValueError: there is no such file.
    """
    if source.startswith((KERAS_HUB, HUGGING_FACE, KAGGLE)):
        return fingerprint_of(source)
    with _about_init_from(), local_file(encoder_file(source)) as file:
        return fingerprint_of(file.read_bytes())


@contextlib.contextmanager
def _about_init_from() -> Iterator[None]:
    """Adds the name of the field to an error about the file that it names."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"encoder.init_from: {error}") from error


def _of_file(source: str) -> tuple[str, dict[str, np.ndarray]]:
    """Returns the name of an encoder, and its weights by their names."""
    with _about_init_from():
        encoder = load_encoder(source)
    return encoder.name, _values(encoder)


def _of_keras_hub(source: str) -> tuple[str, dict[str, np.ndarray]]:
    """Returns the kind of a backbone of KerasHub, and its weights by the names that ours have."""
    name = source.removeprefix(KERAS_HUB)
    hub = import_extra("keras_hub", "keras-hub", f"encoder.init_from={source}")
    try:
        backbone = hub.models.Backbone.from_preset(name)
    except Exception as error:  # of kagglehub, huggingface_hub, requests and KerasHub itself
        reason = short_reason(error).rstrip(".")
        raise NetworkError(
            f"The preset {name!r} of KerasHub could not be loaded ({type(error).__name__}: "
            f"{reason}). Look at the name and the network, or give the folder of a copy."
        ) from error
    kind = type(backbone).__name__
    if kind == "ViTBackbone":
        return kind, vit_of_keras_hub({w.path: w.numpy() for w in backbone.weights})
    return kind, _values(backbone)


# The paths of a KerasHub ViTBackbone, and our names.
_VIT_PATHS = {
    r".*/class_token": TOKEN,
    r".*/position_embedding/embeddings": POSITIONS,
    r".*/patch_embedding/(\w+)": PATCH_LAYER + r"/\1",
    r".*/ln/(\w+)": r"norm/\1",
}
_VIT_BLOCK = re.compile(r".*transformer_block_(\d+)/(ln_1|mha|ln_2|mlp/dense_1|mlp/dense_2)/(.+)")
_OF_BLOCK = {
    "ln_1": "norm1",
    "mha": "attention",
    "ln_2": "norm2",
    "mlp/dense_1": "mlp1",
    "mlp/dense_2": "mlp2",
}


def vit_of_keras_hub(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts the weights of a KerasHub `ViTBackbone` to those of `sassl_tf.vit`.

    Args:
        weights: {path: value}.

    Returns:
        {name: value}.

    Raises:
        ValueError: the backbone has no class token, or its patches make no square.
    """
    ours = {_name_in_our_vit(path): value for path, value in weights.items()}
    positions, token = ours.get(POSITIONS), ours.get(TOKEN)
    side = 0 if positions is None else round((len(positions) - 1) ** 0.5)
    if token is None or positions is None or side**2 != len(positions) - 1:
        raise UserError("The ViT of KerasHub has no class token, or patches that make no square.")
    # The first position is that of the class token, which has it included in ours.
    table = positions[1:].reshape(side, side, -1)
    return {**ours, POSITIONS: table, TOKEN: token + positions[0]}


def _name_in_our_vit(path):
    if block := _VIT_BLOCK.fullmatch(path):
        number, layer, weight = block.groups()
        return f"block{int(number) - 1}_{_OF_BLOCK[layer]}/{weight}"
    for pattern, name in _VIT_PATHS.items():
        if match := re.fullmatch(pattern, path):
            return match.expand(name)
    return path


def _named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns {name: weight}: the path without the names of models and without Keras's numbers.

    Keras counts the layers of a process that have no name of their own; here those that are called
    the same are counted in their order. A Sequential's name is in the paths until it is saved.
    """
    models = {layer.name for layer in (model, *all_layers(model)) if isinstance(layer, keras.Model)}
    named: dict[str, keras.Variable] = {}
    counts: collections.Counter[str] = collections.Counter()
    for weight in model.weights:
        parts = itertools.dropwhile(lambda part: part in models, weight.path.split("/"))
        name = re.sub(r"_\d+/", "/", "/".join(parts))
        counts[name] += 1
        named[name if counts[name] == 1 else f"{name} ({counts[name]})"] = weight
    return named


def _values(model: keras.Model) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in _named_weights(model).items()}


def _differs(name, there, here):
    """Tells whether a weight of this name and shape is none for that shape."""
    if name == POSITIONS:  # interpolated
        return there[-1] != here[-1]
    return there != here


def _differences(there: Mapping[str, Shape], here: Mapping[str, Shape]) -> list[str]:
    """Returns lines that list the weights that do not fit, some of each kind."""
    kinds = (
        [
            f"{name}: there {list(there[name])}, here {list(shape)}"
            for name, shape in here.items()
            if name in there and _differs(name, there[name], shape)
        ],
        [f"{name} {list(there[name])} is only there" for name in there if name not in here],
        [f"{name} {list(here[name])} is only here" for name in here if name not in there],
    )
    lines = []
    for kind in kinds:
        lines += kind[:LISTED]
        if len(kind) > LISTED:
            lines.append(f"and {len(kind) - LISTED} more such weights")
    return lines


def _resized(table: np.ndarray, shape: Shape) -> np.ndarray:
    return ops.convert_to_numpy(interpolated(table.astype(np.float32), shape[0], shape[1]))
