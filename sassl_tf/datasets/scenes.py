"""Generated scenes of several silhouettes, with boxes and masks that are exact to the pixel."""

import numpy as np
import tensorflow as tf
from numpy.random import Generator
from numpy.typing import NDArray

from sassl_tf.datasets.annotated import AnnotatedDataset, padded_boxes
from sassl_tf.datasets.dataset import (
    SPLITS,
    UNLABELLED,
    ImageDataset,
    MissingSplit,
    check_split,
    fingerprint_of,
    on_host,
)
from sassl_tf.datasets.shapes import SILHOUETTES, SMALLEST, coverage, textured
from sassl_tf.errors import UserError

GENERATOR_VERSION = 1
COUNTS = {"train": 2000, "test": 500}
CELLS = 2  # along each side; a scene has up to CELLS² figures
CHUNK = 64  # scenes made at once


def scenes(
    split: str = "train", count: int | None = None, size: int = 128, seed: int = 0
) -> AnnotatedDataset:
    """Makes an `AnnotatedDataset` of painted scenes: uint8 [size, size, 3], 12 classes.

    A scene has one to four of the silhouettes of `sassl_tf.datasets.shapes` on a textured ground,
    each in a quarter of its own, under the pose that they have there, so that none hides another.
    A pixel of which a figure covers half or more is the figure's in the mask; the box is the
    smallest that holds these pixels. The mask's values are 0 for the ground and 1 + class.

    Args:
        split: "train" or "test".
        count: number of scenes; by default 2,000 for train and 500 for test.
        size: side of the images in pixels, an even number of 32 or more.
        seed: an integer, 0 or more.

    Raises:
        ValueError: an argument out of its range.
    """
    check_split(split)
    if split == "validation":
        raise MissingSplit("The scenes of shapes have no validation split.")
    count = COUNTS[split] if count is None else count
    if count < 1 or seed < 0 or size % CELLS or size < CELLS * SMALLEST:
        raise UserError(
            f"The count, size and seed of scenes are {count}, {size} and {seed}; give a count of 1 "
            f"or more, an even size of {CELLS * SMALLEST} or more and a seed of 0 or more."
        )
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    images = np.empty((count, size, size, 3), np.uint8)
    masks = np.empty((count, size, size), np.uint8)
    for start in range(0, count, CHUNK):
        chosen = slice(start, min(start + CHUNK, count))
        images[chosen], masks[chosen] = _paint(rng, chosen.stop - start, size)
    boxes, classes = padded_boxes(*zip(*map(_objects, masks), strict=True))
    pixels, values = on_host(images), on_host(masks)
    return AnnotatedDataset(
        images=ImageDataset(
            name="shapes",
            split=split,
            class_names=[],
            labels=np.full(count, UNLABELLED),
            fingerprint=fingerprint_of("scenes", GENERATOR_VERSION, seed, split, size, count),
            read=lambda index: tf.gather(pixels, index),
        ),
        class_names=list(SILHOUETTES),
        boxes=boxes,
        classes=classes,
        mask_names=["ground", *SILHOUETTES],
        read_mask=lambda index: tf.gather(values, index),
    )


def _paint(rng: Generator, count: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns images [n, size, size, 3] and masks [n, size, size]."""
    figures_are_light = rng.random(count) < 0.5
    image = textured(rng, ~figures_are_light, size)
    mask = np.zeros((count, size, size), np.uint8)
    cell = size // CELLS
    order = rng.permuted(np.tile(np.arange(CELLS**2), (count, 1)), axis=1)
    is_full = order < rng.integers(1, CELLS**2 + 1, (count, 1))
    for number in range(CELLS**2):
        labels = rng.integers(len(SILHOUETTES), size=count)
        covered = coverage(rng, labels, cell) * is_full[:, number, None, None]
        figures = textured(rng, figures_are_light, cell)
        row, column = np.array(divmod(number, CELLS)) * cell
        place = np.s_[:, row : row + cell, column : column + cell]
        image[place] += covered[..., None] * (figures - image[place])
        mask[place] = np.where(covered >= 0.5, labels[:, None, None] + 1, 0)
    return np.rint(255 * image).astype(np.uint8), mask


def _objects(mask: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns the boxes [n, 4] and classes [n] of the figures of a mask."""
    size, cell = len(mask), len(mask) // CELLS
    boxes, classes = [], []
    for top in range(0, size, cell):
        for left in range(0, size, cell):
            part = mask[top : top + cell, left : left + cell]
            rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
            if rows.size:
                x0, x1 = left + columns[0], left + columns[-1] + 1
                y0, y1 = top + rows[0], top + rows[-1] + 1
                boxes.append(np.array([x0, y0, x1, y1]) / size)
                classes.append(int(part.max()) - 1)
    return np.array(boxes, np.float32), np.array(classes, np.int64)
