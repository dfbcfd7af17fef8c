"""Fine-tunes a detector on an encoder and measures VOC's and COCO's mean average precision.

    python -m evaluation.detect --encoder=runs/simclr --dataset=shapes
    python -m evaluation.detect --encoder=runs/simclr --dataset=tfds:voc/2007 --steps=24000

The detector is KerasCV's RetinaNet with the encoder as its backbone, trained end to end as
`evaluation.dense` says; the learning rate falls at 75 and 92 % of the steps, as in MoCo's detection
of PASCAL VOC (arXiv 1911.05722, appendix: 18k and 22k of 24k). MoCo's detector is a Faster R-CNN on
one feature map (C4), which KerasCV lacks. Its images are scaled to several sizes in training, ours
to one. The metrics are AP50, AP75 and AP, the mean over ten thresholds of overlap. Results go to
`detect-DATASET-HASH.json` in the workdir.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from evaluation.average_precision import IOU_THRESHOLDS, mean_average_precision
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
from evaluation.settings import option
from sassl_tf.extras import import_extra
from training.command import binary

DROPS = (0.75, 0.92)
FORMAT = "xyxy"  # of boxes, in pixels
# Detections of a test image: the average precision needs the uncertain ones too.
LEAST_CONFIDENCE, OVERLAP, MOST = 0.02, 0.5, 100


@dataclasses.dataclass(frozen=True)
class Settings(DenseSettings):
    """The settings of the detection.

    Attributes:
        anchor_size: the side in pixels of the anchors of P3; those of each next level are twice
            as large.
    """

    name = "detect"
    anchor_size: int = option(
        flags.DEFINE_integer,
        32,
        "The side in pixels of the smallest anchors, those of P3; 16 suits images of 64 px.",
        lower_bound=8,
    )


def run(subject: DenseSubject, settings: Settings) -> dict[str, Any]:
    """Fine-tunes the detector and writes the result.

    Args:
        subject: a `DenseSubject` with boxes.
        settings: `Settings`.

    Returns:
        The content of the results file, a dict with "ap50", "ap75" and "ap".
    """

    def trial(seed: int) -> dict[str, float]:
        model = detector(subject, settings, seed)

        def loss(batch: dict[str, tf.Tensor]) -> tf.Tensor:
            images = batch["images"]
            truth = {"boxes": batch["boxes"], "classes": batch["classes"]}
            predictions = model({"images": images}, training=True)
            return model.compute_loss(images, truth, predictions, None)

        fine_tune(model, loss, subject, settings, seed, DROPS)
        return scores(model, subject)

    return over_seeds(subject, settings, trial)


def detector(subject: DenseSubject, settings: Settings, seed: int) -> keras.Model:
    """Returns a compiled RetinaNet of float images [B, H, W, 3] in [0, 1]."""
    keras_cv = import_extra("keras_cv", "training", "Detection")
    backbone = subject.backbone(settings, seed)
    keras.utils.set_random_seed(seed)
    anchors = keras_cv.layers.AnchorGenerator(
        FORMAT,
        sizes=[float(settings.anchor_size * 2**level) for level in range(5)],
        scales=[2 ** (third / 3) for third in range(3)],
        aspect_ratios=[0.5, 1.0, 2.0],
        strides=[2**level for level in range(3, 8)],
        clip_boxes=True,
    )
    model = keras_cv.models.RetinaNet(
        backbone=backbone,
        num_classes=len(subject.train.class_names),
        bounding_box_format=FORMAT,
        anchor_generator=anchors,
        prediction_decoder=decoder(),
    )
    model.compile(box_loss="smoothl1", classification_loss="focal")
    return model


def decoder() -> keras.layers.Layer:
    """Returns KerasCV's layer that makes detections of logits, with suppression by class.

    As VOC and COCO count it, a box suppresses those of its own class alone: a person on a motorbike
    stays beside the motorbike.
    """
    keras_cv = import_extra("keras_cv", "training", "Detection")
    return keras_cv.layers.MultiClassNonMaxSuppression(
        FORMAT,
        from_logits=True,
        confidence_threshold=LEAST_CONFIDENCE,
        iou_threshold=OVERLAP,
        max_detections=MOST,
        max_detections_per_class=MOST,
    )


def scores(model: keras.Model, subject: DenseSubject) -> dict[str, float]:
    """Returns {"ap50", "ap75", "ap"} in [0, 1] of a detector on the test split."""
    data, side = subject.test, subject.image_size

    @tf.function(autograph=False, reduce_retracing=True)
    def detect(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return model.decode_predictions(model({"images": images}, training=False), images)

    truths, detections = [], []
    for numbers, images, shares, _ in test_batches(subject):
        found = {name: value.numpy() for name, value in detect(images).items()}
        for row, number in enumerate(numbers.numpy()):
            boxes, classes, hard = data.objects(number)
            corners = boxes * np.tile(shares[row], 2) * side
            truths.append({"boxes": corners, "classes": classes, "difficult": hard})
            kept = found["classes"][row] >= 0
            detections.append(
                {
                    "boxes": found["boxes"][row][kept],
                    "classes": found["classes"][row][kept].astype(int),
                    "scores": found["confidence"][row][kept],
                }
            )
    precisions = mean_average_precision(truths, detections, len(data.class_names))
    at = {
        round(threshold, 2): float(p)
        for threshold, p in zip(IOU_THRESHOLDS, precisions, strict=True)
    }
    return {"ap50": at[0.5], "ap75": at[0.75], "ap": float(np.mean(precisions))}


def main(_: list[str]) -> None:
    settings = settings_from_flags(Settings)
    result = run(dense_subject_from_flags("boxes"), settings)
    print(shown(result))
    tell_next("ap50")


if __name__ == "__main__":
    define_dense_flags(Settings)
    binary.run(main, continues=True)
