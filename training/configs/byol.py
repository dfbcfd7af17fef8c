"""BYOL, with SASSL on the left view unless switched off.

    python -m training.pretrain --config=training/configs/byol.py:PRESET --workdir=runs/byol
    python -m training.pretrain ... --config.style=none             # the baseline, otherwise equal

| preset | data | encoder | epochs | batch |
|---|---|---|---|---|
| smoke | shapes, 32 px | resnet6_slim | 12 steps | 32 |
| demo | shapes, 48 px | resnet10_slim | 12 | 128 |
| cifar10 | tfds:cifar10, 32 px | resnet18, CIFAR stem | 800 | 512 |
| imagenette | tfds:imagenette, 64 px | resnet10_slim | 40 | 128 |
| imagenet | folder:imagenet2012, 224 px | resnet50 | 1000 | 4096 |

Sources: Grill et al. 2020 (arXiv 2006.07733), section 3.3 and appendix. For lengths other than
1,000 epochs: google-deepmind/deepmind-research, byol/configs/byol.py:

| epochs | learning_rate | base_momentum | weight_decay |
|---|---|---|---|
| 40 | 0.45 | 0.97 | 1e-6 |
| 100 | 0.45 | 0.99 | 1e-6 |
| 300 | 0.3 | 0.99 | 1e-6 |
| 1000 | 0.2 | 0.996 | 1.5e-6 |

The numbers of `cifar10` and of the small presets are our own. Lightly's benchmark reports 91.0 %
kNN for BYOL on CIFAR-10 at 800 epochs, for the best epoch on the test set and other settings.
Accuracy to expect: ImageNet 74.3 % linear at 1,000 epochs (the paper, without SASSL). Neither
`cifar10` nor `imagenet` has been run here.
"""

import dataclasses

from ml_collections import ConfigDict

from sassl_tf.views import byol_recipe
from training.configs.common import PRESETS, make_config

__all__ = ["PRESETS", "get_config"]

RECIPE = {
    "encoder": {"zero_init_residual": True},
    "epochs": 1000.0,
    "byol": {"hidden_dim": 4096, "projection_dim": 256, "base_momentum": 0.996},
    "views": dataclasses.asdict(byol_recipe()),
    "optimizer": {"learning_rate": 0.2, "weight_decay": 1.5e-6},
}
SMALL = {"byol": {"hidden_dim": 512, "projection_dim": 128, "base_momentum": 0.99}}
CHANGES = {
    "cifar10": {
        "epochs": 800.0,
        "byol": {"hidden_dim": 1024},
        "views": {
            "left": {"blur_probability": 0.0},
            "right": {"blur_probability": 0.0, "solarize_probability": 0.0},
        },
        "optimizer": {
            "learning_rate": 1.0,
            "learning_rate_scaling": "none",
            "weight_decay": 1e-4,
        },
    },
    "imagenette": SMALL,
    "demo": SMALL,
    "smoke": {"byol": {"hidden_dim": 64, "projection_dim": 32, "base_momentum": 0.99}},
}


def get_config(preset: str = "imagenet") -> ConfigDict:
    """Returns the config of a preset.

    Raises:
        ValueError: the preset is unknown.
    """
    return make_config("byol", preset, RECIPE, CHANGES)
