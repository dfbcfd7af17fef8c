"""What a config means: the augmentation, and the method with its optimizer."""

import keras

from sassl_tf.augmentation import SASSLAugmentation
from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.stylizers import load_stylizer
from training.encoders import build_encoder
from training.input.pipeline import ORDER
from training.input.placement import placement
from training.methods import build_method
from training.optimizers import build_optimizer


def build_augmentation(config):
    """The SASSL layer of a config, or None where it is switched off."""
    if not config.sassl.enabled:
        return None
    sassl = config.sassl
    return SASSLAugmentation(
        stylizer=load_stylizer(sassl.stylizer, sassl.weights or None),
        styles=sassl.styles,
        probability=sassl.probability,
        blending_factor=sassl.blending_factor,
        interpolation_factor=sassl.interpolation_factor,
        stylize_size=sassl.stylize_size or None,
        encode_size=sassl.encode_size or None,
        precision=sassl.precision or None,
        static_shapes=placement(config).static_shapes,
        value_range=(0, 1),
    )


def compiled_method(config, total_steps, steps_per_epoch):
    """The method, with its optimizer, both with all their variables.

    Under mixed_float16 the optimizer also scales the loss, as Keras's `compile` arranges it.
    """
    # Seeded here, so that the initial weights are the same with and without SASSL.
    keras.utils.set_random_seed(config.seed)
    encoder = build_encoder(**config.encoder)
    method = build_method(config, encoder, total_steps)
    optimizer = build_optimizer(config.optimizer, config.batch_size, total_steps, steps_per_epoch)
    optimizer.build(method.trainable_variables)
    method.compile(optimizer)
    method.optimizer.build(method.trainable_variables)
    return method


def fingerprints(dataset, augment):
    """What a run must find again to continue, beside its config; see `training.engine.workdir`."""
    found = {"images": len(dataset), "listing": dataset.listing, "order": ORDER}
    if augment is not None:
        found["stylizer"] = augment.stylizer.fingerprint
        found["stylizer_precision"] = augment.working_precision
        bank = augment.style_bank
        found["styles"] = "in_batch" if bank is None else fingerprint_of(bank.codes.tobytes())
    return found
