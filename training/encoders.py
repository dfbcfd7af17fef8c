"""Encoders: pooled ResNets and vision transformers, or any Keras model by its path."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from sassl_tf.vit import SIZES, vision_transformer
from training.engine.strategy import several_replicas
from training.resnets import KERAS_HUB, RESNETS, resnet

VITS = {f"vit_{size}{patch}": (size, patch) for size in SIZES for patch in (16, 8, 4)}


def build_encoder(
    name: str,
    stem: str = "imagenet",
    width: float = 1.0,
    zero_init_residual: bool = False,
    synchronized_batch_norm: bool = True,
    arguments: Mapping[str, Any] | None = None,
    vit: Mapping[str, Any] | None = None,
    image_size: int = 224,
) -> keras.Model:
    """Builds f as a Keras model: float images [B, H, W, 3] in [0, 1] to features float32 [B, D].

    Args:
        name: the backbone: a ResNet, such as "resnet18" or "resnet50v2", from KerasCV, or, as
            "keras_hub:resnet18", from KerasHub; a vision transformer, such as "vit_small16"; or
            "package.module:function", a function that returns a Keras model from images
            [B, H, W, 3] in [0, 1] to features [B, h, w, D] or [B, D]. The functions of
            keras.applications need include_top=False, weights=None and, if they have it,
            include_preprocessing=False.
        stem: for a ResNet, "imagenet" (7×7 convolution of stride 2, max-pool of stride 2), or
            "cifar" (3×3 of stride 1, no pool) for images of about 32 px (Chen et al. 2020,
            appendix B.9).
        width: for a ResNet, a factor for the filters of every convolution.
        zero_init_residual: for a ResNet of the first version, whether the last γ of each block
            starts at 0, so that the block starts as the identity.
        synchronized_batch_norm: whether to normalise over the global batch, as SimCLR and BYOL do,
            and not over each replica's share of it.
        arguments: dict of the function's arguments.
        vit: dict of a vision transformer's "positions", "pool", "heads" (0 for those of its size)
            and "drop_path"; see `sassl_tf.vit.vision_transformer`.
        image_size: side of the images for which a vision transformer has positions.

    Raises:
        ValueError: the name or the stem is unknown, the path leads to no such function, or the
            arguments do not fit.
        ImportError: the ResNet is KerasHub's, which is not installed.
    """
    check_encoder(name, stem, width, arguments)
    scaled = keras.layers.Rescaling(2.0, offset=-1.0, name="rescaling")
    if is_function(name):
        scaled = keras.layers.Identity(name="unit_images")
        backbone = _imported(name, dict(arguments or {}))
    elif name in RESNETS:
        backbone = resnet(name, stem, width, zero_init_residual)
    else:
        options = dict(vit or {})
        heads = options.pop("heads", 0) or None
        backbone = vision_transformer(*VITS[name], image_size, heads=heads, **options)

    for layer in all_layers(backbone):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = synchronized_batch_norm and several_replicas()
    images = keras.Input(backbone.input_shape[1:], name="images")
    x = backbone(scaled(images))
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    # Features are float32, also those of a mixed-precision network.
    x = keras.layers.Activation("linear", dtype="float32", name="features")(x)
    return keras.Model(images, x, name=name.rpartition(":")[2])


def check_encoder(name: str, stem: str, width: float, arguments: Mapping[str, Any] | None) -> None:
    """Checks the arguments of `build_encoder` without building anything. Imports a module it names.

    Raises:
        ValueError: there is no such encoder, or it has no such options.
    """
    known = [*RESNETS, *VITS]
    if not is_function(name) and name not in known:
        raise UserError(
            f"encoder.name is {name!r}.{nearest(name, known)} There are {', '.join(known)}, or "
            "module:function."
        )
    if arguments and not is_function(name):
        raise UserError(f"encoder.arguments are for module:function, not for {name!r}.")
    if name not in RESNETS and (stem != "imagenet" or width != 1):
        raise UserError(
            f"encoder.stem and encoder.width are for ResNets, not for {name}. Set "
            "--config.encoder.stem=imagenet --config.encoder.width=1."
        )
    if is_function(name):
        _function_at(name)


def is_function(name: str) -> bool:
    return ":" in name and not name.startswith(KERAS_HUB)


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields all layers of a model, including those of models inside it."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)


def packages_of(model: keras.Model) -> list[str]:
    """Returns the packages, besides Keras, that define a model's layers, sorted."""
    parts = [model, *all_layers(model)]
    return sorted({type(part).__module__.partition(".")[0] for part in parts} - {"keras"})


def _function_at(path):
    """Returns the function "package.module:function"."""
    module_name, _, function_name = path.partition(":")
    try:
        return getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"encoder.name is {path!r}, and there is no such function ({error}). Expected "
            "module:function, with the module on PYTHONPATH."
        ) from error


def _imported(path, arguments):
    """Returns the Keras model that "package.module:function" returns, checked."""
    try:
        model = _function_at(path)(**arguments)
    except TypeError as error:
        raise UserError(f"{path} could not be called with {arguments} ({error}).") from error
    if not isinstance(model, keras.Model) or len(getattr(model, "inputs", None) or ()) != 1:
        raise UserError(
            f"{path} returned {type(model).__name__}; expected a functional or Sequential Keras "
            "model of one input."
        )
    if len(model.input_shape) != 4 or model.input_shape[-1] != 3:
        raise UserError(f"{path} takes {model.input_shape}; expected images [B, H, W, 3].")
    if not hasattr(model, "output_shape") or len(model.output_shape) not in (2, 4):
        raise UserError(f"{path} returns {model.output_shape}; expected [B, h, w, D] or [B, D].")
    return model
