"""SimCLR, with SASSL on the left view unless switched off.

    python -m training.pretrain --config=training/configs/simclr.py:PRESET --workdir=runs/simclr
    python -m training.pretrain ... --config.sassl.enabled=False    # the baseline, all else equal

| preset | data | encoder | epochs | batch |
|---|---|---|---|---|
| smoke | shapes, 32 px | resnet10_slim | 12 steps | 32 |
| demo | shapes, 48 px | resnet10_slim | 12 | 128 |
| cifar10 | tfds:cifar10, 32 px | resnet18, CIFAR stem | 1000 | 512 |
| imagenette | tfds:imagenette, 64 px | resnet10_slim | 40 | 128 |
| imagenet | folder:imagenet2012, 224 px | resnet50 | 100 | 4096 |

Sources: Chen et al. 2020 (arXiv 2002.05709), appendix A and B.9 (CIFAR); google-research/simclr,
tf2/README.md. SASSL: arXiv 2312.01187, p = 0.8, α and β ~ U(0.1, 0.3).

Accuracy to expect: CIFAR-10 about 91 % linear (google-research/simclr, README; without SASSL);
ImageNet 69.3 % linear at 1,000 epochs (the paper, without SASSL). Neither `cifar10` nor `imagenet`
has been run here. What has been run stands in docs/results.md.
"""

import ml_collections

from training.views import simclr_views

PRESETS = ("smoke", "demo", "cifar10", "imagenette", "imagenet")


def get_config(preset="imagenet"):
    """The config of a preset.

    Raises:
        ValueError: an unknown preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"There is no preset {preset!r}; there are {', '.join(PRESETS)}.")
    config = imagenet()
    if preset != "imagenet":
        config.update(globals()[preset]())
    return config


def imagenet():
    """The paper's recipe, and the values that the other presets start from."""
    return ml_collections.ConfigDict(
        {
            "method": "simclr",
            "dataset": "folder:imagenet2012",  # with train and val in it
            "data_dir": "",  # of TFDS; "" for its default
            "image_size": 224,
            "batch_size": 4096,  # over all replicas
            "epochs": 100.0,
            "seed": 0,
            "encoder": {"name": "resnet50", "stem": "imagenet"},
            "simclr": {"hidden_dim": 2048, "projection_dim": 128, "temperature": 0.1},
            "views": simclr_views().to_dict(),
            "sassl": {
                "enabled": True,
                "stylizer": "compact",
                "weights": "",  # of the stylizer, where its name is not enough
                "styles": "default",  # or "in_batch", or the path of a style bank
                "probability": 0.8,
                "blending_factor": (0.1, 0.3),  # α
                "interpolation_factor": (0.1, 0.3),  # β
                "stylize_size": 0,  # px; 0 for full size
                "encode_size": 0,  # px, of F alone; 0 for that of T
                "precision": "",  # "float32" or "bfloat16"; "" for the stylizer's own choice
            },
            "optimizer": {
                "name": "lars",
                "learning_rate": 0.3,
                "learning_rate_scaling": "linear",  # times batch / 256
                "momentum": 0.9,
                "weight_decay": 1e-6,
                "warmup_epochs": 10.0,
            },
            "strategy": "auto",
            "precision": "float32",  # or "mixed_bfloat16"
            "deterministic": False,  # bit-identical runs, a little slower
            "log_every": 50,  # steps
            "checkpoint_every": 1000,  # steps
            "knn_every": 5000,  # steps; 0 for the end only
        }
    )


def cifar10():
    """Appendix B.9: CIFAR stem, no blur, colour strength 0.5, temperature 0.5, LARS at 1.0."""
    return {
        "dataset": "tfds:cifar10",
        "image_size": 32,
        "batch_size": 512,
        "epochs": 1000.0,
        "encoder": {"name": "resnet18", "stem": "cifar"},
        "simclr": {"temperature": 0.5},
        "views": simclr_views(strength=0.5, blur_probability=0.0).to_dict(),
        "optimizer": {
            "learning_rate": 1.0,
            "learning_rate_scaling": "none",
            "weight_decay": 1e-4,
        },
        "knn_every": 2000,
    }


def imagenette():
    """A small machine's budget. AdamW: LARS needs longer runs and larger batches."""
    return {
        "dataset": "tfds:imagenette",
        "image_size": 64,
        "batch_size": 128,
        "epochs": 40.0,
        "encoder": {"name": "resnet10_slim"},
        "simclr": {"hidden_dim": 512, "temperature": 0.2},
        "optimizer": {
            "name": "adamw",
            "learning_rate": 1e-3,
            "learning_rate_scaling": "none",
            "weight_decay": 1e-4,
            "warmup_epochs": 2.0,
        },
        "checkpoint_every": 200,
        "knn_every": 500,
    }


def demo():
    """Some two minutes on two cores. Larger crops: small ones cut a shape's outline off."""
    return {
        **imagenette(),
        "dataset": "shapes",
        "image_size": 48,
        "epochs": 12.0,
        "views": {side: {"crop_area": (0.4, 1.0)} for side in ("left", "right")},
        "log_every": 10,
        "checkpoint_every": 100,
        "knn_every": 0,
    }


def smoke():
    """All of a run within 20 seconds on two cores; deterministic. For tests."""
    return {
        **demo(),
        "image_size": 32,
        "batch_size": 32,
        "epochs": 12 * 32 / 4000,
        "simclr": {"hidden_dim": 64, "projection_dim": 32},
        "deterministic": True,
        "log_every": 2,
        "checkpoint_every": 5,
    }
