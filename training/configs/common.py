"""The fields that all configs share, and the budgets of the small presets.

The file of a method adds its own values: `METHOD.get_config(preset)`.
"""

from typing import Any

import ml_collections

from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest

PRESETS = ("smoke", "demo", "cifar10", "imagenette", "imagenet")

# For the smaller presets, each of which starts from the method's ImageNet recipe.
SMALL_MACHINE = {
    "image_size": 64,
    "batch_size": 128,
    "epochs": 40.0,
    "encoder": {"name": "resnet10_slim", "zero_init_residual": False},
    # AdamW: LARS needs longer runs and larger batches.
    "optimizer": {
        "name": "adamw",
        "learning_rate": 1e-3,
        "learning_rate_scaling": "none",
        "weight_decay": 1e-4,
        "warmup_epochs": 2.0,
        "vector_rate": 1.0,
        "end_learning_rate": 0.0,
    },
    "checkpoint_every": 200,
    "knn_every": 500,
}
BUDGETS = {
    "imagenet": {},
    "cifar10": {
        "dataset": "tfds:cifar10",
        "image_size": 32,
        "batch_size": 512,
        "encoder": {"name": "resnet18", "stem": "cifar"},
        "knn_every": 2000,
    },
    "imagenette": {**SMALL_MACHINE, "dataset": "tfds:imagenette"},
    # Some minutes on two cores. Crops are larger: small ones cut off the outlines of shapes.
    "demo": {
        **SMALL_MACHINE,
        "dataset": "shapes",
        "image_size": 48,
        "epochs": 12.0,
        "views": {side: {"crop_area": (0.4, 1.0)} for side in ("left", "right")},
        "log_every": 10,
        "checkpoint_every": 100,
        "knn_every": 0,
    },
}
# For tests: a whole run within 20 seconds on two cores, deterministic.
BUDGETS["smoke"] = {
    **BUDGETS["demo"],
    "image_size": 32,
    "batch_size": 32,
    "encoder": {"name": "resnet6_slim", "zero_init_residual": False},
    "epochs": 12 * 32 / 4000,
    "deterministic": True,
    "log_every": 2,
    "checkpoint_every": 5,
}


# The arguments of every style augmentation that has a stylizer.
STYLIZING = {
    "stylizer": "compact",
    "weights": "",  # the stylizer's, if its name does not determine them
    "styles": "default",  # or the path of a style bank; for SASSL also "in_batch"
    "probability": 0.8,
    "stylize_size": 0,  # px; 0 for full size
    "encode_size": 0,  # px, for F alone; 0 for the size of T
    # "float32" or "bfloat16"; "" is the best of the processor, or that of the training where
    # augment_on is "device".
    "precision": "",
}


def make_config(
    method: str, preset: str, recipe: dict[str, Any], presets: dict[str, Any]
) -> ml_collections.ConfigDict:
    """Builds the config of a method's preset.

    Args:
        method: name of the method.
        preset: one of `PRESETS`, or of the method's own in `presets`.
        recipe: the method's ImageNet recipe, from which all presets start; it includes the section
            of the method's own arguments, `views` and `optimizer`.
        presets: {preset: its changes}, in addition to the budget that all methods share.

    Raises:
        ValueError: the preset is unknown.
    """
    known = [*PRESETS, *(name for name in presets if name not in PRESETS)]
    if preset not in known:
        raise UserError(
            f"There is no preset {preset!r}.{nearest(preset, known)} There are {', '.join(known)}."
        )
    config = base()
    config.method = method
    with config.unlocked():
        config.update(recipe)
    config.update(BUDGETS.get(preset, {}))
    config.update(presets.get(preset, {}))
    return config


def base() -> ml_collections.ConfigDict:
    """Returns a config of all fields that do not depend on the method.

    The default of a new field is what was done before there was it: `training.configs.earlier`
    gives it to the configs of runs that were begun then.
    """
    return ml_collections.ConfigDict(
        {
            "method": "",
            "dataset": "folder:imagenet2012",  # a folder of train and val
            "data_dir": "",  # of prepared TFDS datasets; "" for TFDS's default
            "image_size": 224,
            "local_crops": 0,  # number of small crops beside the two views, for multi-crop
            "local_size": 96,  # px
            "batch_size": 4096,  # of a step, over all replicas
            "accumulate": 1,  # number of parts that the batch of a step is taken in
            "epochs": 100.0,
            "seed": 0,
            "encoder": {
                "name": "resnet50",  # or another ResNet, "vit_small16", or "module:function"
                "stem": "imagenet",  # or "cifar"
                "width": 1.0,
                "zero_init_residual": False,
                "synchronized_batch_norm": True,
                "arguments": {},  # for the function
                # A workdir, a .keras file or a preset whose weights to start from; "" for none.
                "init_from": "",
                "vit": {  # for vision transformers
                    "positions": "learned",  # or "sincos", fixed ones
                    "pool": "token",  # or "mean", of the patches
                    "heads": 0,  # 0 for those of its size
                    "drop_path": 0.0,
                },
            },
            # The section with the arguments of the style augmentation: "sassl", "fourier",
            # "color_statistics" or "random_style"; or "none".
            "style": "sassl",
            "sassl": {
                "enabled": True,  # False is the same as style "none"
                **STYLIZING,
                "blending_factor": (0.1, 0.3),  # α
                "blending_factor_end": (),  # α at the last step, reached linearly; () for the same
                "interpolation_factor": (0.1, 0.3),  # β
                "interpolation_factor_end": (),
            },
            "fourier": {
                "styles": "in_batch",  # or "one_in_batch"
                "probability": 0.8,
                "blending_factor": (0.0, 1.0),  # α
                "blending_factor_end": (),
                "frequency_share": 1.0,  # of the spectrum's area, around frequency 0
            },
            "color_statistics": {
                "probability": 0.8,
                "blending_factor": (0.0, 1.0),  # α
                "blending_factor_end": (),
                "color_space": "rgb",  # or "lab"
            },
            "random_style": {
                **STYLIZING,
                "blending_factor": (0.5, 0.5),  # α
                "blending_factor_end": (),
            },
            "optimizer": {
                "name": "lars",
                "learning_rate": 0.3,
                "learning_rate_scaling": "linear",  # times batch / 256
                "end_learning_rate": 0.0,  # share of the peak, at the end of the cosine
                "momentum": 0.9,
                "weight_decay": 1e-6,
                "warmup_epochs": 10.0,
                # For "lars": the learning rate of biases and normalisations, as a share.
                "vector_rate": 1.0,
                # For "adamw": the weight decay at the end, by a cosine; 0 for a constant one.
                "end_weight_decay": 0.0,
                # For "sgd" and "adamw": False for no decay of biases and normalisations, and the
                # largest norm of a weight's gradient; 0 for no limit.
                "decay_vectors": True,
                "clip_gradient": 0.0,
                # For "sgd": weights whose path contains this keep the peak learning rate.
                "constant_for": "",
            },
            # Images that are read together and stay together: neighbours in the dataset. 1 shuffles
            # single images; more make fewer and longer reads of shards.
            "shuffle_window": 1,
            # The place where crops become views, style included: "host" for the input pipeline,
            # "device" for the train step.
            "augment_on": "host",
            "precision": "float32",  # or "mixed_bfloat16", "mixed_float16"
            "deterministic": False,  # True for runs that are equal to the bit, a little slower
            "log_every": 50,  # steps
            "checkpoint_every": 1000,  # steps
            "keep_checkpoints": 2,  # the latest
            "keep_checkpoint_every": 0,  # steps whose checkpoints are never removed; 0 for none
            "knn_every": 5000,  # steps, also for the features' rank and spread; 0 for the end only
        }
    )
