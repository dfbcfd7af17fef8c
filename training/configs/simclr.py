r"""SimCLR, with SASSL on the left view unless switched off.

    python -m training.pretrain --config=training/configs/simclr.py:PRESET --workdir=runs/simclr
    python -m training.pretrain ... --config.style=none             # the baseline, otherwise equal

| preset | data | encoder | epochs | batch |
|---|---|---|---|---|
| smoke | shapes, 32 px | resnet6_slim | 12 steps | 32 |
| demo | shapes, 48 px | resnet10_slim | 12 | 128 |
| cifar10 | tfds:cifar10, 32 px | resnet18, CIFAR stem | 1000 | 512 |
| imagenette | tfds:imagenette, 64 px | resnet10_slim | 40 | 128 |
| imagenet | folder:imagenet2012, 224 px | resnet50 | 100 | 4096 |

Sources: Chen et al. 2020 (arXiv 2002.05709), appendix A and B.9 (CIFAR); google-research/simclr,
tf2/README.md, whose projection head has three layers by default; this one has the paper's two. The
README's command for ImageNet has a weight decay of 1e-4, and the paper 1e-6, which is taken here.
The loss is equation 1. That of the source (tf2/objective.py) is the sum of both sides, twice as
large: `cifar10` has half of its weight decay, and `vector_rate` 2, which with LARS is the same
training. `imagenet` has the numbers of the paper as they are.
SASSL: arXiv 2312.01187, p = 0.8, α and β ~ U(0.1, 0.3).

Accuracy to expect: CIFAR-10 about 91 % linear (google-research/simclr, README; without SASSL);
ImageNet 69.3 % linear at 1,000 epochs (the paper, without SASSL). Neither `cifar10` nor `imagenet`
has been run here; docs/results.md has the runs that were.

For one GPU, with a batch of 512 and the learning rate of appendix B.1:

    python -m training.pretrain --config=training/configs/simclr.py:imagenet --workdir=runs/simclr \
        --config.batch_size=512 --config.optimizer.learning_rate_scaling=sqrt \
        --config.optimizer.learning_rate=0.075
"""

import dataclasses

from ml_collections import ConfigDict

from sassl_tf.views import simclr_recipe
from training.configs.common import PRESETS, make_config

__all__ = ["PRESETS", "get_config"]

RECIPE = {
    "encoder": {"zero_init_residual": True},
    "simclr": {"hidden_dim": 2048, "projection_dim": 128, "temperature": 0.1},
    "views": dataclasses.asdict(simclr_recipe()),
}
SMALL = {"simclr": {"hidden_dim": 512, "temperature": 0.2}}
CHANGES = {
    # Appendix B.9: CIFAR stem, no blur, colour strength 0.5, temperature 0.5, LARS at 1.0.
    "cifar10": {
        "epochs": 1000.0,
        "simclr": {"temperature": 0.5, "hidden_dim": 512},  # as wide as the encoder's features
        "views": dataclasses.asdict(simclr_recipe(strength=0.5, blur_probability=0.0)),
        "optimizer": {
            "learning_rate": 1.0,  # times B/256, as in the source
            # 1e-4 and 1 with the source's loss, which is twice as large.
            "weight_decay": 5e-5,
            "vector_rate": 2.0,
        },
    },
    "imagenette": SMALL,
    "demo": SMALL,
    "smoke": {"simclr": {"hidden_dim": 64, "projection_dim": 32}},
}


def get_config(preset: str = "imagenet") -> ConfigDict:
    """Returns the config of a preset.

    Raises:
        ValueError: the preset is unknown.
    """
    return make_config("simclr", preset, RECIPE, CHANGES)
