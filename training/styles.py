"""The style augmentations that a config may choose by `config.style`.

Each has a section of the config by its own name, with its arguments.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

import sassl_tf
from sassl_tf.image_augmentation import ImageAugmentation
from training.input.placement import placement

NONE = "none"


def style_of(config: Mapping[str, Any] | ConfigDict) -> str:
    """Returns the name of the style augmentation of a config, or "none".

    `sassl.enabled` was the switch before there were others than SASSL, and still works.
    """
    if config["style"] == "sassl" and not config["sassl"]["enabled"]:
        return NONE
    return str(config["style"])


def build_augmentation(config: ConfigDict) -> ImageAugmentation | None:
    """Returns the layer that a config chooses, for images in [0, 1], or None for "none".

    Raises:
        ValueError: the stylizer or the styles do not exist.
    """
    name = style_of(config)
    if name == NONE:
        return None
    place = placement(config)
    section = config[name].copy_and_resolve_references()
    if "precision" in section and not section.precision:
        section.precision = place.stylizer_precision(config)
    return STYLES[name](section, static_shapes=place.static_shapes, value_range=(0, 1))


def _sassl(section: ConfigDict, **shared: Any) -> ImageAugmentation:
    beta = section.interpolation_factor
    return sassl_tf.SASSLAugmentation(interpolation_factor=beta, **_stylizing(section), **shared)


def _random_style(section: ConfigDict, **shared: Any) -> ImageAugmentation:
    return sassl_tf.RandomStyle(**_stylizing(section), **shared)


def _stylizing(section: ConfigDict) -> dict[str, Any]:
    """Returns the arguments that layers with a stylizer share."""
    return {
        "stylizer": sassl_tf.load_stylizer(section.stylizer, section.weights or None),
        "styles": section.styles,
        "probability": section.probability,
        "blending_factor": section.blending_factor,
        "stylize_size": section.stylize_size or None,
        "encode_size": section.encode_size or None,
        "precision": section.precision or None,
    }


def _fourier(section: ConfigDict, **shared: Any) -> ImageAugmentation:
    return sassl_tf.FourierStyle(
        styles=section.styles,
        probability=section.probability,
        blending_factor=section.blending_factor,
        frequency_share=section.frequency_share,
        **shared,
    )


def _color_statistics(section: ConfigDict, **shared: Any) -> ImageAugmentation:
    return sassl_tf.ColorStatistics(
        probability=section.probability,
        blending_factor=section.blending_factor,
        color_space=section.color_space,
        **shared,
    )


STYLES: dict[str, Callable[..., ImageAugmentation]] = {
    "sassl": _sassl,
    "fourier": _fourier,
    "color_statistics": _color_statistics,
    "random_style": _random_style,
}
