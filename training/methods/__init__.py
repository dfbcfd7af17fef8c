"""Self-supervised methods, one file each."""

import keras
from ml_collections import ConfigDict

from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest

METHODS = ("simclr", "moco", "byol", "simsiam", "barlow_twins", "vicreg", "moco_v3", "dino")
MULTI_CROP = ("dino",)  # methods that learn from small crops beside the two views


def build_method(
    config: ConfigDict, encoder: keras.Model, total_steps: int, steps_per_epoch: int
) -> keras.Model:
    """Builds the method that a config names, as a Keras model around an encoder.

    Args:
        config: a pretraining config; `config.method` names the method, and the section of that
            name has its arguments.
        encoder: a Keras model, images to features [B, D].
        total_steps, steps_per_epoch: length of the run and of an epoch, for schedules.

    Raises:
        ValueError: the method is unknown.
    """
    if config.method == "simclr":
        from training.methods.simclr import SimCLR

        return SimCLR(encoder, **config.simclr)
    if config.method == "moco":
        from training.methods.moco import MoCo

        return MoCo(encoder, **config.moco)
    if config.method == "byol":
        from training.methods.byol import BYOL

        return BYOL(encoder, total_steps, **config.byol)
    if config.method == "simsiam":
        from training.methods.simsiam import SimSiam

        return SimSiam(encoder, **config.simsiam)
    if config.method == "barlow_twins":
        from training.methods.barlow_twins import BarlowTwins

        return BarlowTwins(encoder, **config.barlow_twins)
    if config.method == "vicreg":
        from training.methods.vicreg import VICReg

        return VICReg(encoder, **config.vicreg)
    if config.method == "moco_v3":
        from training.methods.moco_v3 import MoCoV3

        return MoCoV3(encoder, total_steps, **config.moco_v3)
    if config.method == "dino":
        from training.methods.dino import DINO

        return DINO(encoder, total_steps, steps_per_epoch, **config.dino)
    raise UserError(
        f"There is no method {config.method!r}.{nearest(config.method, METHODS)} "
        f"There are {', '.join(METHODS)}."
    )
