"""ResNets of KerasCV and KerasHub, as plain Keras models with unpooled features.

KerasCV gets no more releases, and is imported here alone; KerasHub is its successor. The named
models of both contact a server, so the backbones are built from their stages. They consist of
Keras's own layers, and load without either package.
"""

import keras

from sassl_tf.errors import UserError
from sassl_tf.extras import import_extra

KERAS_HUB = "keras_hub:"
# As in SimCLR, BYOL, MoCo and SimSiam; KerasCV has 0.99 and 1.001e-5.
BATCH_NORM = {"momentum": 0.9, "epsilon": 1e-5}
# Filters and blocks of the stages, and the kind of block (He et al. 2015, table 1). The last three
# are for small images and machines; both libraries need 64 filters in the first stage.
_STAGES = {
    "resnet18": ((64, 128, 256, 512), (2, 2, 2, 2), "basic_block"),
    "resnet34": ((64, 128, 256, 512), (3, 4, 6, 3), "basic_block"),
    "resnet50": ((64, 128, 256, 512), (3, 4, 6, 3), "block"),
    "resnet101": ((64, 128, 256, 512), (3, 4, 23, 3), "block"),
    "resnet10": ((64, 128, 256, 512), (1, 1, 1, 1), "basic_block"),
    "resnet10_slim": ((64, 96, 160, 256), (1, 1, 1, 1), "basic_block"),
    "resnet6_slim": ((64, 96), (1, 1), "basic_block"),
}
# A name that ends with "v2" has the blocks of He et al. 2016. KerasCV's do not support stages of
# one block; in KerasHub's, a padding that no stem can leave out stands between the layers.
RESNETS = (
    *_STAGES,
    *(f"{name}v2" for name, (_, blocks, _) in _STAGES.items() if min(blocks) > 1),
    *(KERAS_HUB + name for name in _STAGES),
)


def resnet(name: str, stem: str, width: float, zero_init_residual: bool) -> keras.Model:
    """Builds a backbone of Keras layers, from images in [-1, 1] to feature maps.

    Args:
        name: one of `RESNETS`.
        stem, width, zero_init_residual: see `training.encoders.build_encoder`.

    Raises:
        ValueError: the stem is unknown.
        ImportError: KerasHub is asked for and not installed.
    """
    if stem not in ("imagenet", "cifar"):
        raise UserError(f'encoder.stem is {stem!r}; expected "imagenet" or "cifar".')
    stages = _STAGES[name.removeprefix(KERAS_HUB).removesuffix("v2")]
    if name.startswith(KERAS_HUB):
        backbone = _of_keras_hub(*stages)
    else:
        backbone = _of_keras_cv(*stages, second_version=name.endswith("v2"))
    last_of_block = "_3_bn" if stages[-1] == "block" else "_2_bn"

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
        if stem == "cifar" and layer.name.startswith(("conv1_pad", "pool1_")):
            return keras.layers.Activation("linear", name=layer.name)
        return layer.__class__.from_config(config)

    # Cloning also turns the library's class into a plain functional model.
    return keras.models.clone_model(backbone, clone_function=clone)


def _of_keras_cv(filters, blocks, block_type, second_version):
    from keras_cv.models import ResNetBackbone, ResNetV2Backbone

    return (ResNetV2Backbone if second_version else ResNetBackbone)(
        stackwise_filters=list(filters),
        stackwise_blocks=list(blocks),
        stackwise_strides=_strides(blocks),
        include_rescaling=False,
        block_type=block_type,
    )


def _of_keras_hub(filters, blocks, block_type):
    hub = import_extra("keras_hub", "keras-hub", f"An encoder of {KERAS_HUB}")
    return hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=list(filters),
        stackwise_num_blocks=list(blocks),
        stackwise_num_strides=_strides(blocks),
        block_type={"block": "bottleneck_block"}.get(block_type, block_type),
        data_format="channels_last",
    )


def _strides(blocks):
    return [1, 2, 2, 2][: len(blocks)]
