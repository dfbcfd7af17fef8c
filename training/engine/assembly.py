"""Everything that a config stands for: the images, the augmentation, the method, the optimizer."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from sassl_tf.augmentation import SASSLAugmentation
from sassl_tf.datasets import load_dataset
from sassl_tf.datasets.dataset import ImageDataset, fingerprint_of
from sassl_tf.image_augmentation import ImageAugmentation
from training.encoders import build_encoder
from training.initial_weights import fingerprint, initialize
from training.input.order import ORDER, batches_per_epoch, total_steps
from training.methods import build_method
from training.methods.online_probe import OnlineProbe
from training.methods.parts import Sums
from training.optimizers import build_optimizer
from training.styles import build_augmentation


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run before it has weights: its config, and what follows from it.

    Attributes:
        config: see `training/configs`.
        strategy: the `tf.distribute.Strategy` that it runs under.
        dataset: the `ImageDataset` that it trains on.
        augment: the layer of its style augmentation, or None.
        steps_per_epoch: number of whole batches in an epoch.
    """

    config: Any
    strategy: tf.distribute.Strategy
    dataset: ImageDataset
    augment: ImageAugmentation | None
    steps_per_epoch: int

    @property
    def total_steps(self) -> int:
        """Number of the last step."""
        return total_steps(self.config, self.steps_per_epoch)


def make_plan(config: ConfigDict, strategy: tf.distribute.Strategy) -> Plan:
    """Loads the images and the augmentation of a config.

    Raises:
        ValueError: the dataset or the stylizer does not exist, or the dataset has fewer images
            than a batch.
    """
    dataset = load_dataset(config.dataset, "train", config.data_dir or None)
    steps_per_epoch = batches_per_epoch(dataset, config)
    return Plan(config, strategy, dataset, build_augmentation(config), steps_per_epoch)


def compiled_method(
    config: ConfigDict, total_steps: int, steps_per_epoch: int, begun: bool = False
) -> keras.Model:
    """Builds the method of a config with its optimizer; both have all their variables.

    Under mixed_float16, Keras's `compile` also makes the optimizer scale the loss.

    Args:
        config: see `training/configs`.
        total_steps, steps_per_epoch: length of the run and of an epoch, for the schedules.
        begun: True for a run whose checkpoint has the weights: `encoder.init_from` need not be
            there any more.
    """
    # The seed is set here, so that the initial weights are the same whatever the style.
    keras.utils.set_random_seed(config.seed)
    options = dict(config.encoder)
    init_from = options.pop("init_from")
    encoder = build_encoder(**options, image_size=config.image_size)
    if init_from and not begun:
        initialize(encoder, init_from)
    method = build_method(config, encoder, total_steps, steps_per_epoch)
    optimizer = build_optimizer(config.optimizer, config.batch_size, total_steps, steps_per_epoch)
    optimizer.build(method.trainable_variables)
    method.compile(optimizer)
    method.optimizer.build(method.trainable_variables)
    if config.accumulate > 1:
        method.gradient_sums = Sums(method.trainable_variables)
    return method


def online_probe(encoder: keras.Model, dataset: ImageDataset) -> OnlineProbe | None:
    """Returns the probe that is trained beside an encoder; None for images without labels."""
    if not dataset.class_names:
        return None
    return OnlineProbe(encoder.output_shape[-1], len(dataset.class_names))


def fingerprints(dataset: ImageDataset, augment: ImageAugmentation | None) -> dict[str, Any]:
    """Returns what must be the same for a run to continue, as `open_workdir` takes it.

    Args:
        dataset: an `ImageDataset`.
        augment: the layer of a style augmentation, or None.
    """
    images = {"images": len(dataset), "listing": dataset.listing, "order": ORDER}
    return {**images, **style_fingerprints(augment)}


def initial_fingerprints(init_from: str) -> dict[str, str]:
    """Returns the fingerprint of the weights that a run starts from; none for random ones.

    A run that goes on does not need them any more, and does not look at them.

    Args:
        init_from: `encoder.init_from` of its config.
    """
    return {"init_from": fingerprint(init_from)} if init_from else {}


def style_fingerprints(augment: ImageAugmentation | None) -> dict[str, str]:
    """Returns the fingerprints of a layer's stylizer and styles; none without a stylizer."""
    if not isinstance(augment, SASSLAugmentation):  # RandomStyle is one too
        return {}
    bank = augment.style_bank
    return {
        "stylizer": augment.stylizer.fingerprint,
        "stylizer_precision": augment.working_precision,
        "styles": "in_batch" if bank is None else fingerprint_of(bank.codes.tobytes()),
    }
