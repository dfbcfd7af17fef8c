"""DINO, with SASSL on the global crops unless switched off.

    python -m training.pretrain --config=training/configs/dino.py:PRESET --workdir=runs/dino
    python -m training.pretrain ... --config.style=none    # the baseline, otherwise equal

| preset | data | encoder | crops | epochs | batch |
|---|---|---|---|---|---|
| smoke | shapes | vit_micro8 | 2 × 32 px, 2 × 16 px | 12 steps | 32 |
| demo | shapes | vit_micro8 | 2 × 48 px, 4 × 24 px | 12 | 128 |
| cifar10 | tfds:cifar10 | resnet18, CIFAR stem | 2 × 32 px | 1000 | 512 |
| imagenette | tfds:imagenette | vit_tiny8 | 2 × 64 px, 6 × 32 px | 40 | 128 |
| imagenet | folder:imagenet2012 | vit_small16 | 2 × 224 px, 8 × 96 px | 100 | 512 |
| imagenet_resnet50 | folder:imagenet2012 | resnet50 | 2 × 224 px, 8 × 96 px | 100 | 512 |

Sources: Caron et al. 2021 (arXiv 2104.14294); facebookresearch/dino, main_dino.py and README.md,
whose "vanilla" run on 8 GPUs `imagenet` is. The README's better run has

    --config.epochs=300 --config.batch_size=1024 --config.optimizer.end_learning_rate=0.0005
    --config.dino.teacher_temperature=0.07 --config.dino.warmup_teacher_temperature_epochs=30
    --config.dino.norm_last_layer=False

The source ends with a learning rate of 1e-6 whatever the batch, which is a share of the peak here:
256 / batch_size · 0.002 (for ResNet-50 256 / batch_size · 3.3e-5). For small batches it recommends
a higher momentum, 0.9995 at 256 images. `cifar10`: the head of solo-learn
(scripts/pretrain/cifar/dino.yaml) on two crops; its optimizer's numbers are our own, those of BYOL
there. The numbers of the small presets are our own.

Which crops are stylized: --config.views.right.sassl=none for the left one alone,
--config.views.local.sassl=before_jitter for the small ones as well.

Accuracy to expect: ImageNet 69.3 % kNN and 74.0 % linear (`imagenet`), 73.3 % and 76.0 % (the
better run) (facebookresearch/dino, without SASSL); CIFAR-10 89.5 % online linear, with other
numbers (solo-learn). None of `cifar10`, `imagenet` and `imagenet_resnet50` has been run here.
SASSL's paper did not try DINO.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from sassl_tf.views import dino_recipe
from training.configs.common import PRESETS, make_config

__all__ = ["PRESETS", "get_config"]

RECIPE = {
    "encoder": {"name": "vit_small16", "vit": {"drop_path": 0.1}},
    "local_crops": 8,
    "local_size": 96,
    "batch_size": 512,
    "epochs": 100.0,
    "dino": {
        "prototypes": 65536,
        "hidden_dim": 2048,
        "bottleneck_dim": 256,
        "norm_last_layer": True,
        "freeze_last_layer": 1.0,
        "base_momentum": 0.996,
        "center_momentum": 0.9,
        "student_temperature": 0.1,
        "teacher_temperature": 0.04,
        "warmup_teacher_temperature": 0.04,
        "warmup_teacher_temperature_epochs": 0,
    },
    "views": dataclasses.asdict(dino_recipe()),
    "optimizer": {
        "name": "adamw",
        "learning_rate": 5e-4,
        "end_learning_rate": 1e-3,  # 1e-6 of 1e-3
        "weight_decay": 0.04,
        "end_weight_decay": 0.4,
        "decay_vectors": False,
        "clip_gradient": 3.0,
        "warmup_epochs": 10.0,
    },
}
SMALL: dict[str, Any] = {
    "encoder": {"name": "vit_tiny8"},
    "dino": {"prototypes": 4096, "hidden_dim": 512, "bottleneck_dim": 128, "base_momentum": 0.99},
    "optimizer": {"learning_rate": 5e-4, "weight_decay": 0.04, "warmup_epochs": 4.0},
}
CHANGES: dict[str, Any] = {
    "imagenet_resnet50": {
        "encoder": {"name": "resnet50", "vit": {"drop_path": 0.0}},
        "views": {
            "left": {"crop_area": (0.14, 1.0)},
            "right": {"crop_area": (0.14, 1.0)},
            "local": {"crop_area": (0.05, 0.14)},
        },
        "optimizer": {
            "name": "sgd",
            "learning_rate": 0.03,
            "end_learning_rate": 1.67e-5,  # 1e-6 of 0.06
            "weight_decay": 1e-4,
            "end_weight_decay": 0.0,
        },
    },
    "cifar10": {
        "encoder": {"vit": {"drop_path": 0.0}},
        "local_crops": 0,
        "epochs": 1000.0,
        "dino": {"prototypes": 4096, "base_momentum": 0.9995},
        "views": {
            side: {"crop_area": (0.08, 1.0), "blur_probability": 0.0} for side in ("left", "right")
        },
        "optimizer": {
            "name": "lars",
            "learning_rate": 1.0,
            "learning_rate_scaling": "none",
            "end_learning_rate": 0.0,
            "weight_decay": 1e-4,
            "end_weight_decay": 0.0,
            "decay_vectors": True,
            "clip_gradient": 0.0,
        },
    },
    "imagenette": {**SMALL, "local_crops": 6, "local_size": 32},
    # Crops of shapes are larger than those of photographs: small ones cut off the outlines.
    "demo": {
        **SMALL,
        "encoder": {"name": "vit_micro8"},
        "local_crops": 4,
        "local_size": 24,
        "views": {"local": {"crop_area": (0.2, 0.5)}},
    },
    "smoke": {
        "encoder": {"name": "vit_micro8"},
        "local_crops": 2,
        "local_size": 16,
        "dino": {
            "prototypes": 64,
            "hidden_dim": 32,
            "bottleneck_dim": 16,
            "freeze_last_layer": 0.01,
            "base_momentum": 0.9,
        },
    },
}


def get_config(preset: str = "imagenet") -> ConfigDict:
    """Returns the config of a preset.

    Raises:
        ValueError: the preset is unknown.
    """
    return make_config("dino", preset, RECIPE, CHANGES)
