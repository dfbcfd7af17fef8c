"""SimSiam, with SASSL on the left view unless switched off.

    python -m training.pretrain --config=training/configs/simsiam.py:PRESET --workdir=runs/simsiam
    python -m training.pretrain ... --config.style=none             # the baseline, otherwise equal

| preset | data | encoder | epochs | batch |
|---|---|---|---|---|
| smoke | shapes, 32 px | resnet6_slim | 12 steps | 32 |
| demo | shapes, 48 px | resnet10_slim | 12 | 128 |
| cifar10 | tfds:cifar10, 32 px | resnet18, CIFAR stem | 800 | 512 |
| imagenette | tfds:imagenette, 64 px | resnet10_slim | 40 | 128 |
| imagenet | folder:imagenet2012, 224 px | resnet50 | 100 | 512 |

Sources: Chen & He 2020 (arXiv 2011.10566), section 3 and appendix D (CIFAR);
facebookresearch/simsiam, main_simsiam.py with `--fix-pred-lr`, views of MoCo v2. For CIFAR its
projector has two layers, ours three.

Accuracy to expect: ImageNet 68.1 % linear at 100 epochs (facebookresearch/simsiam, without SASSL).
Neither `cifar10` nor `imagenet` has been run here. SASSL's paper did not try SimSiam.
"""

import dataclasses

from ml_collections import ConfigDict

from sassl_tf.views import moco_v2_recipe
from training.configs.common import PRESETS, make_config

__all__ = ["PRESETS", "get_config"]

RECIPE = {
    "encoder": {"zero_init_residual": True},
    "batch_size": 512,
    "epochs": 100.0,
    "simsiam": {"hidden_dim": 512, "projection_dim": 2048},
    "views": dataclasses.asdict(moco_v2_recipe()),
    "optimizer": {
        "name": "sgd",
        "learning_rate": 0.05,
        "weight_decay": 1e-4,
        "warmup_epochs": 0.0,
        "constant_for": "predictor",
    },
}
SMALL = {
    "simsiam": {"hidden_dim": 128, "projection_dim": 512},
    "optimizer": {"constant_for": ""},
}
CHANGES = {
    "cifar10": {
        "epochs": 800.0,
        "views": {side: {"blur_probability": 0.0} for side in ("left", "right")},
        "optimizer": {"learning_rate": 0.03, "weight_decay": 5e-4, "constant_for": ""},
    },
    "imagenette": SMALL,
    "demo": SMALL,
    "smoke": {
        "simsiam": {"hidden_dim": 16, "projection_dim": 64},
        "optimizer": {"constant_for": ""},
    },
}


def get_config(preset: str = "imagenet") -> ConfigDict:
    """Returns the config of a preset.

    Raises:
        ValueError: the preset is unknown.
    """
    return make_config("simsiam", preset, RECIPE, CHANGES)
