"""Configs that earlier versions wrote, brought to the fields of this one."""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from training.configs.common import base
from training.styles import style_of


def as_written(config: ConfigDict) -> dict[str, Any]:
    """Returns a config as `config.json` holds it, of JSON's types."""
    return up_to_date(json.loads(config.to_json()))


def up_to_date(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config of a pretraining as this version writes it.

    Fields that were added since have their defaults, which are what was done without them; and
    `style` and `sassl.enabled` say the same, however the style was switched off.

    Args:
        config: what a `config.json` holds. A config without styles is returned as it is.
    """
    if "sassl" not in config:
        return dict(config)
    new = _filled(config, json.loads(base().to_json()))
    new["style"] = style_of(new)
    new["sassl"]["enabled"] = new["style"] == "sassl"
    return new


def _filled(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config with the fields of `defaults` that it lacks, in its sections too."""
    new = {**defaults, **config}
    for name, value in defaults.items():
        if isinstance(value, Mapping):
            new[name] = _filled(new[name], value)
    return new
