"""Training of a linear classifier by SGD on the features of random crops, by a recipe."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from evaluation.training_batches import training_batches
from sassl_tf.datasets import ImageDataset
from sassl_tf.datasets.dataset import naming_damaged
from sassl_tf.errors import UserError
from training.optimizers import TorchSGD, peak_learning_rate

LOSS_CHECK_STEPS = 100  # between two checks that the loss is a finite number
DROPS = (0.6, 0.8)  # shares of the training after which "steps" divides the learning rate by 10


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The recipe by which a classifier is trained.

    Attributes:
        epochs: how many times the train data is gone through.
        batch_size: B, the number of images in a step.
        learning_rate: the learning rate at the start for B = 256; it is multiplied by B / 256.
        schedule: "cosine" (to 0, with Nesterov momentum), "plain_cosine" (with plain momentum) or
            "steps" (`DROPS`, plain momentum).
        initial: the initial weights: "zeros", "normal" or "fan_in".
        crop_sampler: the law of the crops, one of `sassl_tf.views.crops.CROP_SAMPLERS`.
    """

    epochs: float
    batch_size: int
    learning_rate: float
    schedule: str = "cosine"
    initial: str = "zeros"
    crop_sampler: str = "tensorflow"


def train_classifier(
    encoder: keras.Model,
    dataset: ImageDataset,
    recipe: Recipe,
    image_size: int,
    seed: int = 0,
    chunk: int = 128,
) -> keras.layers.Dense:
    """Trains a linear classifier on the features of random crops.

    Args:
        encoder: a Keras model, float32 [B, H, W, 3] in [0, 1] to [B, D]; it stays as it is.
        dataset: a labelled `ImageDataset`.
        recipe: a `Recipe`.
        image_size: the side of the crops.
        seed: the seed of the batches, their crops and the initial weights.
        chunk: how many images, at most, go through the encoder at a time.

    Returns:
        A `keras.layers.Dense` from features [B, D] to logits [B, C].

    Raises:
        ValueError: the training diverged.
    """
    chunk = math.gcd(recipe.batch_size, chunk)
    chunks = recipe.batch_size // chunk  # SimCLR's 4,096 images at a time fit in no single GPU
    steps = max(1, round(recipe.epochs * len(dataset) / recipe.batch_size))
    head = _head(recipe.initial, len(dataset.class_names), encoder.outputs[0].shape[-1], seed)
    encode, descend = _encode(encoder), _descend(head, recipe, steps)
    batches = iter(training_batches(dataset, image_size, chunk, seed, recipe.crop_sampler))
    bar = tqdm(range(steps), desc=f"SGD probe, trial {seed}", unit="step", disable=None)
    with naming_damaged(dataset):
        for step in bar:
            parts = [next(batches) for _ in range(chunks)]
            features = tf.concat([encode(images) for images, _ in parts], axis=0)
            loss = descend(features, tf.concat([labels for _, labels in parts], axis=0))
            last = step == steps - 1
            if (last or step % LOSS_CHECK_STEPS == 0) and not np.isfinite(loss):
                raise UserError(
                    f"The probe diverged at learning rate {recipe.learning_rate:g}; give a smaller "
                    "--learning_rate."
                )
    return head


def _encode(encoder):
    """Returns the function from images to float32 features, in inference mode."""

    @tf.function(autograph=False)
    def encode(images):
        return tf.cast(encoder(images, training=False), tf.float32)

    return encode


def _descend(head, recipe, steps):
    """Returns the function of features and labels that does one step and returns the loss."""
    peak = peak_learning_rate(recipe.learning_rate, "linear", recipe.batch_size)
    optimizer = _optimizer(recipe.schedule, peak, steps)
    variables = head.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False)
    def descend(features, labels):
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(
                labels, head(features), from_logits=True
            )
            loss = tf.reduce_mean(losses)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return descend


def _head(initial, classes, features_size, seed):
    initializers = {
        "zeros": keras.initializers.Zeros(),
        "normal": keras.initializers.RandomNormal(stddev=0.01, seed=seed),
        "fan_in": keras.initializers.TruncatedNormal(stddev=features_size**-0.5, seed=seed),
    }
    head = keras.layers.Dense(classes, kernel_initializer=initializers[initial], dtype="float32")
    head.build([None, features_size])
    return head


def _optimizer(schedule, peak, steps):
    schedules = keras.optimizers.schedules
    if schedule == "cosine":
        rate = schedules.CosineDecay(peak, steps)
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    if schedule == "plain_cosine":
        rate = schedules.CosineDecay(peak, steps)
        return TorchSGD(rate, momentum=0.9, weight_decay=0.0)
    # Keras takes a boundary for the last step of what comes before it.
    boundaries = [round(share * steps) - 1 for share in DROPS]
    rate = schedules.PiecewiseConstantDecay(boundaries, [peak, peak / 10, peak / 100])
    return TorchSGD(rate, momentum=0.9, weight_decay=0.0)
