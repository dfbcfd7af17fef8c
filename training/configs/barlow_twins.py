"""Barlow Twins, with SASSL on the left view unless switched off.

    python -m training.pretrain --config=training/configs/barlow_twins.py:PRESET --workdir=DIR
    python -m training.pretrain ... --config.style=none             # the baseline, otherwise equal

| preset | data | encoder | epochs | batch |
|---|---|---|---|---|
| smoke | shapes, 32 px | resnet6_slim | 12 steps | 32 |
| demo | shapes, 48 px | resnet10_slim | 12 | 128 |
| cifar10 | tfds:cifar10, 32 px | resnet18, CIFAR stem | 1000 | 512 |
| imagenette | tfds:imagenette, 64 px | resnet10_slim | 40 | 128 |
| imagenet | folder:imagenet2012, 224 px | resnet50 | 1000 | 2048 |

Sources: Zbontar et al. 2021 (arXiv 2103.03230); facebookresearch/barlowtwins, main.py. The paper
has a weight decay of 1.5e-6, the code 1e-6. `cifar10`: the widths of solo-learn
(scripts/pretrain/cifar/barlow.yaml) and no blur; its optimizer's numbers are our own, those of
SimCLR there.

Accuracy to expect: ImageNet 73.5 % linear at 1,000 epochs (facebookresearch/barlowtwins, without
SASSL); CIFAR-10 92.1 % online linear at 1,000 epochs, with other numbers (solo-learn). Neither
`cifar10` nor `imagenet` has been run here. SASSL's paper did not try Barlow Twins.
"""

import dataclasses

from ml_collections import ConfigDict

from sassl_tf.views import barlow_twins_recipe
from training.configs.common import PRESETS, make_config

__all__ = ["PRESETS", "get_config"]

RECIPE = {
    "encoder": {"zero_init_residual": True},
    "batch_size": 2048,
    "epochs": 1000.0,
    "barlow_twins": {"hidden_dim": 8192, "projection_dim": 8192, "redundancy_weight": 0.0051},
    "views": dataclasses.asdict(barlow_twins_recipe()),
    "optimizer": {
        "learning_rate": 0.2,
        "end_learning_rate": 0.001,
        "vector_rate": 0.024,  # 0.0048 for biases and normalisations
    },
}
SMALL = {"barlow_twins": {"hidden_dim": 512, "projection_dim": 512}}
CHANGES = {
    "cifar10": {
        "barlow_twins": {"hidden_dim": 2048, "projection_dim": 2048},
        "views": {side: {"blur_probability": 0.0} for side in ("left", "right")},
        "optimizer": {"learning_rate": 1.0, "weight_decay": 1e-4},
    },
    "imagenette": SMALL,
    "demo": SMALL,
    "smoke": {"barlow_twins": {"hidden_dim": 64, "projection_dim": 32}},
}


def get_config(preset: str = "imagenet") -> ConfigDict:
    """Returns the config of a preset.

    Raises:
        ValueError: the preset is unknown.
    """
    return make_config("barlow_twins", preset, RECIPE, CHANGES)
