"""Configs that earlier versions wrote, brought to the fields of this one."""

import copy
import json
from typing import Any

from training.configs.common import base
from training.styles import style_of

# Fields that `config.json` did not always have. Their defaults are what was done without them.
ADDED = ("style", "fourier", "color_statistics", "random_style")


def up_to_date(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the config of a pretraining as this version writes it.

    The fields that were added since have the values that they stand for, and `style` and
    `sassl.enabled` say the same, however the style was switched off.

    Args:
        config: what a `config.json` holds. A config without styles is returned as it is.
    """
    if "sassl" not in config:
        return config
    config, defaults = copy.deepcopy(config), json.loads(base().to_json())
    for name in ADDED:
        config.setdefault(name, defaults[name])
    config["style"] = style_of(config)
    config["sassl"]["enabled"] = config["style"] == "sassl"
    return config
