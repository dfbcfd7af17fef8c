"""Average precision of detections, as PASCAL VOC counts it since 2010 and COCO averages it.

Everingham et al. 2010, section 4.2, with the area under the whole curve instead of eleven points.
"""

from collections.abc import Sequence

import numpy as np

IOU_THRESHOLDS = tuple(np.arange(50, 100, 5) / 100)  # COCO's


def mean_average_precision(
    truths: Sequence[dict[str, np.ndarray]],
    detections: Sequence[dict[str, np.ndarray]],
    num_classes: int,
    iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> np.ndarray:
    """Computes the mean over classes of the average precision, for each threshold of overlap.

    Args:
        truths: for each image "boxes" float [n, 4], x0, y0, x1, y1; "classes" int [n]; and
            "difficult" bool [n], objects that count neither as found nor as missed.
        detections: for each image "boxes" float [m, 4], "classes" int [m] and "scores" float [m].
        num_classes: int.
        iou_thresholds: the least intersection over union of a box that counts as found.

    Returns:
        float64 [number of thresholds] in [0, 1]; over the classes that have objects.
    """
    found = [
        [average_precision(truths, detections, label, t) for t in iou_thresholds]
        for label in range(num_classes)
        if any(((t["classes"] == label) & ~t["difficult"]).any() for t in truths)
    ]
    return np.mean(found, axis=0) if found else np.zeros(len(iou_thresholds))


def average_precision(
    truths: Sequence[dict[str, np.ndarray]],
    detections: Sequence[dict[str, np.ndarray]],
    label: int,
    iou_threshold: float,
) -> float:
    """Computes the area under the curve of precision and recall of one class.

    Each detection, the most certain first, is compared with the object of the largest overlap. It
    is right if the overlap is large enough and the object was not found before.

    Args:
        truths: as for `mean_average_precision`.
        detections: as for `mean_average_precision`.
        label: the class.
        iou_threshold: as for `mean_average_precision`.
    """
    scores, is_right = [], []
    objects = 0
    for truth, detected in zip(truths, detections, strict=True):
        of_class = truth["classes"] == label
        hard = truth["difficult"][of_class]
        objects += int((~hard).sum())
        chosen = np.flatnonzero(detected["classes"] == label)
        chosen = chosen[np.argsort(-detected["scores"][chosen], kind="stable")]
        overlaps = overlap(detected["boxes"][chosen], truth["boxes"][of_class])
        taken = np.zeros(len(hard), bool)
        for row, score in zip(overlaps, detected["scores"][chosen], strict=True):
            best = int(row.argmax()) if row.size else -1
            is_hit = best >= 0 and row[best] >= iou_threshold
            if is_hit and hard[best]:
                continue
            scores.append(score)
            is_right.append(is_hit and not taken[best])
            if is_hit:
                taken[best] = True
    if not objects or not scores:
        return 0.0
    right = np.array(is_right)[np.argsort(-np.array(scores), kind="stable")]
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(hits) + 1)
    # At each recall the highest precision that this recall or a larger one has.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[right].sum() / objects)


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the intersection over union [m, n] of boxes [m, 4] and [n, 4]."""
    first, second = np.reshape(first, (-1, 1, 4)), np.reshape(second, (1, -1, 4))
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    common = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(np.maximum(b[..., 2:] - b[..., :2], 0), axis=-1) for b in (first, second)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-12)
