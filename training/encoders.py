"""Encoders: KerasCV ResNet backbones, pooled, as plain Keras models.

KerasCV's named presets ask a server even when no weights are wanted, so the backbones are built
from their stages. What comes out holds only layers of Keras itself: it loads without KerasCV.
"""

import keras

from training.strategy import several_replicas

# Filters and blocks of the four stages, and the kind of block (He et al. 2015, table 1). The last
# two are for small images and small machines; KerasCV's basic block wants 64 filters at first.
_RESNETS = {
    "resnet18": ((64, 128, 256, 512), (2, 2, 2, 2), "basic_block"),
    "resnet34": ((64, 128, 256, 512), (3, 4, 6, 3), "basic_block"),
    "resnet50": ((64, 128, 256, 512), (3, 4, 6, 3), "block"),
    "resnet101": ((64, 128, 256, 512), (3, 4, 23, 3), "block"),
    "resnet10": ((64, 128, 256, 512), (1, 1, 1, 1), "basic_block"),
    "resnet10_slim": ((64, 96, 160, 256), (1, 1, 1, 1), "basic_block"),
}


def build_encoder(name, stem="imagenet", synchronized_batch_norm=True):
    """f as a Keras model: float images [B, H, W, 3] in [0, 1] to features float32 [B, D].

    Args:
        name: of the backbone, "resnet18" for one.
        stem: "imagenet" (7×7 convolution of stride 2, max-pool of stride 2), or "cifar" (3×3 of
            stride 1, no pool), for images of some 32 px (Chen et al. 2020, appendix B.9).
        synchronized_batch_norm: where the strategy has several replicas, normalise over the whole
            global batch, as SimCLR and BYOL do, and not over each replica's share.

    Raises:
        ValueError: an unknown name or stem.
    """
    if name not in _RESNETS:
        raise ValueError(f"encoder.name is {name!r}; expected one of {sorted(_RESNETS)}.")
    if stem not in ("imagenet", "cifar"):
        raise ValueError(f'encoder.stem is {stem!r}; expected "imagenet" or "cifar".')
    from keras_cv.models import ResNetBackbone

    filters, blocks, block_type = _RESNETS[name]
    backbone = ResNetBackbone(
        stackwise_filters=list(filters),
        stackwise_blocks=list(blocks),
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=False,
        block_type=block_type,
    )
    # Cloning also turns KerasCV's class into a plain functional model.
    replace = _cifar_stem if stem == "cifar" else _same_layer
    synchronized = synchronized_batch_norm and several_replicas()

    def clone(layer):
        copy = replace(layer)
        if isinstance(copy, keras.layers.BatchNormalization):
            copy.synchronized = synchronized
        return copy

    backbone = keras.models.clone_model(backbone, clone_function=clone)
    images = keras.Input((None, None, 3), name="images")
    x = keras.layers.Rescaling(2.0, offset=-1.0, name="rescaling")(images)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(backbone(x))
    # Float32 out of a mixed-precision network, for whoever uses the features.
    x = keras.layers.Activation("linear", dtype="float32", name="features")(x)
    return keras.Model(images, x, name=name)


def _same_layer(layer):
    return layer.__class__.from_config(layer.get_config())


def _cifar_stem(layer):
    if layer.name.startswith("conv1_conv"):
        config = {**layer.get_config(), "kernel_size": 3, "strides": 1, "padding": "same"}
        return keras.layers.Conv2D.from_config(config)
    if layer.name.startswith("pool1_pool"):
        return keras.layers.Activation("linear", name=layer.name)
    return _same_layer(layer)
