"""Pretrained networks as backbones of detectors and segmenters: an encoder with its pyramid."""

import re
from collections.abc import Mapping
from typing import Any

import keras

from sassl_tf.errors import UserError
from sassl_tf.presets import load_encoder
from sassl_tf.typing import PathLike

SIDE = 256  # px, of the images by which strides are found
# The last layer of a stage in KerasCV's and KerasHub's ResNets. Other networks have no such names.
STAGE_OUTPUT = re.compile(r"(?:v2_)?stack_?\d+_block\d+_out")


def load_backbone(source: PathLike) -> "PyramidBackbone":
    """Loads a pretrained encoder as a backbone for the detectors and segmenters of KerasCV.

    It takes images float32 [B, H, W, 3] in [0, 1], H and W multiples of 32.

    ```python
    backbone = sassl_tf.load_backbone("runs/simclr")
    model = keras_cv.models.DeepLabV3Plus(backbone=backbone, num_classes=21)
    ```

    Args:
        source: as for `sassl_tf.load_encoder`.

    Raises:
        ValueError: there is no such encoder, or it has no feature maps.
    """
    return PyramidBackbone(load_encoder(source))


@keras.saving.register_keras_serializable(package="sassl_tf")
class PyramidBackbone(keras.Model):
    """An encoder without its pooling, with the outputs of its stages.

    Called on images, it returns {"P1": feature map, ...}: the level "Pk" has the stride 2ᵏ. It
    shares its weights with the encoder.

    Args:
        encoder: a Keras model of images [B, H, W, 3] to features [B, D], as `build_encoder` of
            `training.encoders` makes them: a network inside, with what prepares its images.
        levels: {"P2": name of the layer, ...} within that network; by default the outputs of the
            stages.

    Attributes:
        pyramid_level_inputs: {"P2": name of the layer in this model, ...}, as KerasCV asks for it.
        pyramid_outputs: {"P2": its output, ...}, as KerasHub asks for it.

    Raises:
        ValueError: the encoder has no network with feature maps inside.
    """

    def __init__(
        self, encoder: keras.Model, levels: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        place, network = _network(encoder)
        levels = dict(levels or pyramid_levels(network))
        maps = keras.Model(
            network.inputs, {k: network.get_layer(v).output for k, v in levels.items()}
        )
        images = keras.Input(encoder.inputs[0].shape[1:], name="images")
        prepared = keras.Model(encoder.inputs, place)(images)
        # A layer at the top for each level: KerasCV looks for names there.
        outputs = {
            level: keras.layers.Activation("linear", name=level)(found)
            for level, found in maps(prepared).items()
        }
        super().__init__(images, outputs, **kwargs)
        self.encoder, self.levels = encoder, levels
        self.pyramid_level_inputs = {level: level for level in sorted(outputs)}
        self.pyramid_outputs = {level: outputs[level] for level in sorted(outputs)}

    def get_config(self) -> dict[str, Any]:
        """Returns the config, with that of the encoder in it."""
        encoder = keras.saving.serialize_keras_object(self.encoder)
        return {"encoder": encoder, "levels": self.levels, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "PyramidBackbone":
        """Makes the backbone of a config."""
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects)
        return cls(encoder, config["levels"], name=config["name"])


def pyramid_levels(network: keras.Model) -> dict[str, str]:
    """Returns {"P1": layer name, ...}: the last layer of each stride of a functional model.

    The last level is what the network returns, also where normalisation follows its last stage, as
    in the second version of ResNets. Maps of other strides, such as padded ones, are left out.

    Args:
        network: a functional Keras model of images [B, H, W, 3] to feature maps.

    Raises:
        ValueError: it has no feature map whose stride is a power of two.
    """
    maps = [layer for layer in network.layers if len(layer.output.shape) == 4]
    stages = [layer for layer in maps if STAGE_OUTPUT.fullmatch(layer.name)]
    layers = [*stages, maps[-1]] if stages else maps
    found = keras.Model(network.inputs, [layer.output for layer in layers])
    shapes = found.compute_output_shape((1, SIDE, SIDE, 3))
    levels = {}
    for layer, shape in zip(layers, shapes, strict=True):
        level = (SIDE // shape[1]).bit_length() - 1
        if level > 0 and shape[1] << level == SIDE:
            levels[f"P{level}"] = layer.name
    if not levels:
        raise UserError(
            f"The network {network.name} has no feature map with a stride of 2, 4, 8, ... px, so "
            "it cannot be the backbone of a detector or segmenter. Give an encoder that has some, "
            "such as a ResNet."
        )
    return levels


def _network(encoder: keras.Model) -> tuple[Any, keras.Model]:
    """Returns the network inside an encoder, and the tensor that it is applied to."""
    for layer in encoder.layers:
        if isinstance(layer, keras.Model) and len(layer.output.shape) == 4:
            inputs = layer._inbound_nodes[-1].input_tensors
            return inputs[0], layer
    raise UserError(
        f"The encoder {encoder.name} has no network with feature maps [B, h, w, D] inside, as "
        "those of training.pretrain have: it cannot be the backbone of a detector or segmenter."
    )
