"""Configs that earlier versions wrote, brought to the fields of this one."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from training.configs.common import base
from training.styles import style_of

# Fields that `config.json` did not always have. Their defaults are what was done without them.
ADDED = (
    "style",
    "fourier",
    "color_statistics",
    "random_style",
    "local_crops",
    "local_size",
    "sassl.blending_factor_end",
    "sassl.interpolation_factor_end",
    "encoder.vit",
    "optimizer.end_learning_rate",
    "optimizer.vector_rate",
    "optimizer.end_weight_decay",
    "optimizer.decay_vectors",
    "optimizer.clip_gradient",
)


def as_written(config: ConfigDict) -> dict[str, Any]:
    """Returns a config as `config.json` holds it, of JSON's types."""
    return up_to_date(json.loads(config.to_json()))


def up_to_date(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config of a pretraining as this version writes it.

    The fields that were added since have the values that they stand for, and `style` and
    `sassl.enabled` say the same, however the style was switched off.

    Args:
        config: what a `config.json` holds. A config without styles is returned as it is.
    """
    new = copy.deepcopy(dict(config))
    if "sassl" not in new:
        return new
    defaults = json.loads(base().to_json())
    for name in ADDED:
        *outer, field = name.split(".")
        there, default = new, defaults
        for section in outer:
            there, default = there.get(section, {}), default[section]
        there.setdefault(field, default[field])
    new["style"] = style_of(new)
    new["sassl"]["enabled"] = new["style"] == "sassl"
    return new
