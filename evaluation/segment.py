"""Fine-tunes a segmenter on an encoder and measures the mean intersection over union.

    python -m evaluation.segment --encoder=runs/simclr --dataset=shapes
    python -m evaluation.segment --encoder=runs/simclr --dataset=shapes --init=random

The segmenter is KerasCV's DeepLabV3+ with the encoder as its backbone, trained end to end as
`evaluation.dense` says; the learning rate falls at 70 and 90 % of the steps, as in MoCo's
segmentation of PASCAL VOC (arXiv 1911.05722, appendix). The metric is VOC's mIoU: the mean over the
classes, the background among them, of intersection over union of all pixels of the test split, at
the size of the network's input. Results go to `segment-DATASET-HASH.json` in the workdir.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from evaluation.dense import (
    DenseSettings,
    DenseSubject,
    define_dense_flags,
    dense_subject_from_flags,
    fine_tune,
    over_seeds,
    shown,
    test_batches,
)
from evaluation.flags import settings_from_flags, tell_next
from sassl_tf.datasets.annotated import IGNORED
from sassl_tf.extras import import_extra
from training.command import binary

DROPS = (0.7, 0.9)


@dataclasses.dataclass(frozen=True)
class Settings(DenseSettings):
    """The settings of the segmentation."""

    name = "segment"


def run(subject: DenseSubject, settings: Settings) -> dict[str, Any]:
    """Fine-tunes the segmenter and writes the result.

    Args:
        subject: a `DenseSubject` with masks.
        settings: `Settings`.

    Returns:
        The content of the results file, a dict with "miou" and "pixel_accuracy".
    """

    def trial(seed: int) -> dict[str, float]:
        model = segmenter(subject, settings, seed)

        def loss(batch: dict[str, tf.Tensor]) -> tf.Tensor:
            return masked_loss(batch["masks"], model(batch["images"], training=True))

        fine_tune(model, loss, subject, settings, seed, DROPS)
        return scores(confusion(model, subject))

    return over_seeds(subject, settings, trial)


def segmenter(subject: DenseSubject, settings: Settings, seed: int) -> keras.Model:
    """Returns a DeepLabV3+ of float images [B, H, W, 3] in [0, 1] to probabilities [B, H, W, C]."""
    keras_cv = import_extra("keras_cv", "training", "Segmentation")
    backbone = subject.backbone(settings, seed)
    keras.utils.set_random_seed(seed)
    return keras_cv.models.DeepLabV3Plus(
        backbone=backbone, num_classes=len(subject.train.mask_names)
    )


def masked_loss(masks: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Returns the mean cross-entropy of the pixels that are not `IGNORED`.

    Args:
        masks: uint8 [B, H, W].
        probabilities: float32 [B, H, W, C].
    """
    counted = masks != IGNORED
    labels = tf.where(counted, tf.cast(masks, tf.int32), 0)
    losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    weights = tf.cast(counted, losses.dtype)
    return tf.reduce_sum(losses * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)


def confusion(model: keras.Model, subject: DenseSubject) -> np.ndarray:
    """Returns int64 [C, C]: the test split's pixels by their class and by the class predicted."""
    classes = len(subject.test.mask_names)

    @tf.function(autograph=False, reduce_retracing=True)
    def count(images: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
        predicted = tf.argmax(model(images, training=False), axis=-1, output_type=tf.int32)
        counted = masks != IGNORED
        cells = tf.boolean_mask(tf.cast(masks, tf.int32) * classes + predicted, counted)
        return tf.math.bincount(cells, minlength=classes**2, dtype=tf.int64)

    total = np.zeros(classes**2, np.int64)
    for _, images, _, masks in test_batches(subject):
        total += count(images, masks).numpy()
    return total.reshape(classes, classes)


def scores(table: np.ndarray) -> dict[str, float]:
    """Returns {"miou", "pixel_accuracy"} in [0, 1] of a table as `confusion` returns it.

    Classes that occur neither in the masks nor in the predictions are left out of the mean.
    """
    right = np.diag(table).astype(np.float64)
    either = table.sum(axis=0) + table.sum(axis=1) - right
    return {
        "miou": float(np.mean(right[either > 0] / either[either > 0])),
        "pixel_accuracy": float(right.sum() / max(table.sum(), 1)),
    }


def main(_: list[str]) -> None:
    settings = settings_from_flags(Settings)
    result = run(dense_subject_from_flags("masks"), settings)
    print(shown(result))
    tell_next("miou")


if __name__ == "__main__":
    define_dense_flags(Settings)
    binary.run(main, continues=True)
