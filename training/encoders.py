"""Encoders: pooled KerasCV ResNets as plain Keras models, or any Keras model by its path.

KerasCV's named presets contact a server even without weights, so the backbones are built from their
stages. An encoder consists of Keras's own layers only, and loads without KerasCV.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from training.engine.strategy import several_replicas

# Filters and blocks of the stages, and the kind of block (He et al. 2015, table 1). A name that
# ends with "v2" has the blocks of He et al. 2016. The last three are for small images and machines;
# KerasCV's basic block needs 64 filters in the first stage.
_RESNETS = {
    "resnet18": ((64, 128, 256, 512), (2, 2, 2, 2), "basic_block"),
    "resnet34": ((64, 128, 256, 512), (3, 4, 6, 3), "basic_block"),
    "resnet50": ((64, 128, 256, 512), (3, 4, 6, 3), "block"),
    "resnet101": ((64, 128, 256, 512), (3, 4, 23, 3), "block"),
    "resnet10": ((64, 128, 256, 512), (1, 1, 1, 1), "basic_block"),
    "resnet10_slim": ((64, 96, 160, 256), (1, 1, 1, 1), "basic_block"),
    "resnet6_slim": ((64, 96), (1, 1), "basic_block"),
}


# As in SimCLR, BYOL, MoCo and SimSiam; KerasCV has 0.99 and 1.001e-5.
BATCH_NORM = {"momentum": 0.9, "epsilon": 1e-5}


def build_encoder(
    name: str,
    stem: str = "imagenet",
    width: float = 1.0,
    zero_init_residual: bool = False,
    synchronized_batch_norm: bool = True,
    arguments: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Builds f as a Keras model: float images [B, H, W, 3] in [0, 1] to features float32 [B, D].

    Args:
        name: the backbone, such as "resnet18" or "resnet50v2"; or "package.module:function", a
            function that returns a Keras model from images [B, H, W, 3] in [0, 1] to features
            [B, h, w, D] or [B, D]. The functions of keras.applications need include_top=False,
            weights=None and, if they have it, include_preprocessing=False.
        stem: for a ResNet, "imagenet" (7×7 convolution of stride 2, max-pool of stride 2), or
            "cifar" (3×3 of stride 1, no pool) for images of about 32 px (Chen et al. 2020,
            appendix B.9).
        width: for a ResNet, a factor for the filters of every convolution.
        zero_init_residual: for a ResNet of the first version, whether the last γ of each block
            starts at 0, so that the block starts as the identity.
        synchronized_batch_norm: whether to normalise over the global batch, as SimCLR and BYOL do,
            and not over each replica's share of it.
        arguments: dict of the function's arguments.

    Raises:
        ValueError: the name or the stem is unknown, the path leads to no such function, or the
            arguments do not fit.
    """
    if ":" in name:
        if stem != "imagenet" or width != 1:
            raise UserError(f"encoder.stem and encoder.width are for ResNets, not for {name}.")
        backbone, scaled = _imported(name, dict(arguments or {})), lambda images: images
    else:
        if arguments:
            raise UserError(f"encoder.arguments are for module:function, not for {name!r}.")
        backbone = _resnet(name, stem, width, zero_init_residual)
        scaled = keras.layers.Rescaling(2.0, offset=-1.0, name="rescaling")

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


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields all layers of a model, including those of models inside it."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)


def _resnet(name, stem, width, zero_init_residual):
    """Builds a backbone of Keras layers, from images in [-1, 1] to feature maps."""
    from keras_cv.models import ResNetBackbone, ResNetV2Backbone

    # KerasCV's second version does not support stages of one block.
    v2_names = [f"{known}v2" for known, (_, blocks, _) in _RESNETS.items() if min(blocks) > 1]
    names = sorted([*_RESNETS, *v2_names])
    if name not in names:
        raise UserError(
            f"encoder.name is {name!r}.{nearest(name, names)} There are {', '.join(names)}, "
            "or module:function."
        )
    if stem not in ("imagenet", "cifar"):
        raise UserError(f'encoder.stem is {stem!r}; expected "imagenet" or "cifar".')
    filters, blocks, block_type = _RESNETS[name.removesuffix("v2")]
    backbone = (ResNetV2Backbone if name.endswith("v2") else ResNetBackbone)(
        stackwise_filters=list(filters),
        stackwise_blocks=list(blocks),
        stackwise_strides=[1, 2, 2, 2][: len(blocks)],
        include_rescaling=False,
        block_type=block_type,
    )

    last_of_block = "_3_bn" if block_type == "block" else "_2_bn"

    def clone(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            config.update(BATCH_NORM)
            if zero_init_residual and layer.name.endswith(last_of_block):
                config["gamma_initializer"] = "zeros"
        if isinstance(layer, keras.layers.Conv2D):
            config["filters"] = max(1, round(width * config["filters"]))
        if stem == "cifar" and layer.name.startswith("conv1_conv"):
            config.update(kernel_size=3, strides=1, padding="same")
        if stem == "cifar" and layer.name.startswith("pool1_pool"):
            return keras.layers.Activation("linear", name=layer.name)
        return layer.__class__.from_config(config)

    # Cloning also turns KerasCV's class into a plain functional model.
    return keras.models.clone_model(backbone, clone_function=clone)


def _imported(path, arguments):
    """Returns the Keras model that "package.module:function" returns, checked."""
    module_name, _, function_name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"encoder.name is {path!r}, and there is no such function ({error}). Expected "
            "module:function, with the module on PYTHONPATH."
        ) from error
    try:
        model = function(**arguments)
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
