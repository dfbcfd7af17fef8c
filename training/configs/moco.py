"""MoCo v2, with SASSL on the left view, the query's, unless switched off.

    python -m training.pretrain --config=training/configs/moco.py:PRESET --workdir=runs/moco
    python -m training.pretrain ... --config.style=none             # the baseline, otherwise equal

| preset | data | encoder | epochs | batch |
|---|---|---|---|---|
| smoke | shapes, 32 px | resnet6_slim | 12 steps | 32 |
| demo | shapes, 48 px | resnet10_slim | 12 | 128 |
| cifar10 | tfds:cifar10, 32 px | resnet18, CIFAR stem | 800 | 512 |
| imagenette | tfds:imagenette, 64 px | resnet10_slim | 40 | 128 |
| imagenet | folder:imagenet2012, 224 px | resnet50 | 200 | 256 |

Sources: Chen et al. 2020 (arXiv 2003.04297); facebookresearch/moco, README.md (`--mlp --moco-t 0.2
--aug-plus --cos`) and main_moco.py. `cifar10`: K, m, τ and the optimizer of lightly's benchmark
at batch 512 (docs/source/getting_started/benchmarks/cifar10_benchmark.py), whose loss is symmetric.

Accuracy to expect: ImageNet 67.5 % linear at 200 epochs (facebookresearch/moco, without SASSL);
CIFAR-10 89.9 % kNN at 800 epochs, at the best epoch on the test set (lightly). Neither `cifar10`
nor `imagenet` has been run here.
"""

import dataclasses

from ml_collections import ConfigDict

from sassl_tf.views import moco_v2_recipe
from training.configs.common import PRESETS, make_config

__all__ = ["PRESETS", "get_config"]

RECIPE = {
    "batch_size": 256,
    "epochs": 200.0,
    # MoCo's shuffling needs groups of its own for batch normalisation.
    "encoder": {"synchronized_batch_norm": False},
    "moco": {
        "hidden_dim": 2048,
        "projection_dim": 128,
        "queue_size": 65536,
        "momentum": 0.999,
        "temperature": 0.2,
        "batch_norm_groups": 8,
    },
    "views": dataclasses.asdict(moco_v2_recipe()),
    "optimizer": {
        "name": "sgd",
        "learning_rate": 0.03,
        "weight_decay": 1e-4,
        "warmup_epochs": 0.0,
    },
}
SMALL = {"moco": {"hidden_dim": 512, "queue_size": 2048, "momentum": 0.99, "batch_norm_groups": 4}}
CHANGES = {
    "cifar10": {
        "epochs": 800.0,
        "moco": {"hidden_dim": 512, "queue_size": 8192, "momentum": 0.99, "temperature": 0.1},
        "views": {side: {"blur_probability": 0.0} for side in ("left", "right")},
        "optimizer": {
            "learning_rate": 0.12,  # 0.06 at batch 128
            "weight_decay": 5e-4,
        },
    },
    "imagenette": SMALL,
    "demo": SMALL,
    "smoke": {
        "moco": {
            "hidden_dim": 64,
            "projection_dim": 32,
            "queue_size": 128,
            "momentum": 0.9,
            "batch_norm_groups": 2,
        }
    },
}


def get_config(preset: str = "imagenet") -> ConfigDict:
    """Returns the config of a preset.

    Raises:
        ValueError: the preset is unknown.
    """
    return make_config("moco", preset, RECIPE, CHANGES)
