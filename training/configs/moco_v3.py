"""MoCo v3, with SASSL on the left view unless switched off.

    python -m training.pretrain --config=training/configs/moco_v3.py:PRESET --workdir=runs/moco_v3
    python -m training.pretrain ... --config.style=none             # the baseline, otherwise equal

| preset | data | encoder | epochs | batch |
|---|---|---|---|---|
| smoke | shapes, 32 px | vit_micro8 | 12 steps | 32 |
| demo | shapes, 48 px | vit_micro8 | 12 | 128 |
| cifar10 | tfds:cifar10, 32 px | resnet18, CIFAR stem | 1000 | 512 |
| imagenette | tfds:imagenette, 64 px | vit_tiny8 | 40 | 128 |
| imagenet | folder:imagenet2012, 224 px | vit_small16 | 300 | 4096 |
| imagenet_resnet50 | folder:imagenet2012, 224 px | resnet50 | 100 | 4096 |

Sources: Chen et al. 2021 (arXiv 2104.02057); facebookresearch/moco-v3, CONFIG.md, main_moco.py and
vits.py. The paper's ViT-Base (--config.encoder.name=vit_base16) has the same numbers. For one host
of 8 GPUs, CONFIG.md has a batch of 1024 with them. ResNet-50 for other lengths:

| epochs | learning_rate | base_momentum | weight_decay |
|---|---|---|---|
| 100 | 0.6 | 0.99 | 1e-6 |
| 300 | 0.3 | 0.99 | 1e-6 |
| 1000 | 0.3 | 0.996 | 1.5e-6 |

`cifar10`: heads, temperature and views of solo-learn (scripts/pretrain/cifar/mocov3.yaml); its
optimizer's numbers are our own, those of SimCLR there. The numbers of the small presets are our
own.

Accuracy to expect: ImageNet 73.2 % linear (ViT-Small), 76.7 % (ViT-Base), and 68.9 % (ResNet-50 at
100 epochs) (facebookresearch/moco-v3, without SASSL); CIFAR-10 93.1 % online linear, with other
numbers (solo-learn). None of `cifar10`, `imagenet` and `imagenet_resnet50` has been run here.
SASSL's paper did not try MoCo v3.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from sassl_tf.views import barlow_twins_recipe
from training.configs.common import PRESETS, make_config

__all__ = ["PRESETS", "get_config"]

RECIPE = {
    "encoder": {"name": "vit_small16", "vit": {"positions": "sincos", "heads": 12}},
    "batch_size": 4096,
    "epochs": 300.0,
    "moco_v3": {
        "hidden_dim": 4096,
        "projection_dim": 256,
        "projector_layers": 3,
        "predictor_batch_norm": True,
        "base_momentum": 0.99,
        "temperature": 0.2,
        "frozen_projection": True,
    },
    "views": dataclasses.asdict(barlow_twins_recipe()),
    "optimizer": {
        "name": "adamw",
        "learning_rate": 1.5e-4,
        "weight_decay": 0.1,
        "warmup_epochs": 40.0,
    },
}
RESNET: dict[str, Any] = {
    "encoder": {"vit": {"positions": "learned", "heads": 0}, "zero_init_residual": True},
    "moco_v3": {
        "projector_layers": 2,
        "predictor_batch_norm": False,
        "frozen_projection": False,
    },
    "optimizer": {"name": "lars", "weight_decay": 1e-6, "warmup_epochs": 10.0},
}
SMALL: dict[str, Any] = {
    "encoder": {"name": "vit_tiny8", "vit": {"heads": 0}},
    "moco_v3": {"hidden_dim": 512, "projection_dim": 128},
    "optimizer": {"learning_rate": 5e-4, "weight_decay": 0.1, "warmup_epochs": 4.0},
}
CHANGES: dict[str, Any] = {
    "imagenet_resnet50": {
        "encoder": {**RESNET["encoder"], "name": "resnet50"},
        "epochs": 100.0,
        "moco_v3": {**RESNET["moco_v3"], "temperature": 1.0},
        "views": {side: {"crop_area": (0.2, 1.0)} for side in ("left", "right")},
        "optimizer": {**RESNET["optimizer"], "learning_rate": 0.6},
    },
    "cifar10": {
        **RESNET,
        "epochs": 1000.0,
        "views": {side: {"blur_probability": 0.0} for side in ("left", "right")},
        "optimizer": {**RESNET["optimizer"], "learning_rate": 1.0, "weight_decay": 1e-4},
    },
    "imagenette": SMALL,
    "demo": {**SMALL, "encoder": {"name": "vit_micro8", "vit": {"heads": 0}}},
    "smoke": {
        "encoder": {"name": "vit_micro8", "vit": {"heads": 0}},
        "moco_v3": {"hidden_dim": 64, "projection_dim": 32},
    },
}


def get_config(preset: str = "imagenet") -> ConfigDict:
    """Returns the config of a preset.

    Raises:
        ValueError: the preset is unknown.
    """
    return make_config("moco_v3", preset, RECIPE, CHANGES)
