"""A generated dataset: twelve silhouettes whose class is in the outline, not in the style."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.random import Generator
from numpy.typing import NDArray

from sassl_tf.datasets.dataset import (
    SPLITS,
    ImageDataset,
    MissingSplit,
    check_split,
    fingerprint_of,
    on_host,
)
from sassl_tf.errors import UserError

GENERATOR_VERSION = 1
COUNTS = {"train": 4000, "test": 1000}
SMALLEST = 16  # px: below, the outlines cannot be told apart
SUPERSAMPLING = 2
CHUNK = 256  # images made at once: they fit the processor's cache, and memory is bounded

Floats: TypeAlias = NDArray[np.floating[Any]]
Inside: TypeAlias = Callable[[Floats, Floats], NDArray[np.bool_]]  # of (u, v)


def shapes(
    split: str = "train", count: int | None = None, size: int = 48, seed: int = 0
) -> ImageDataset:
    """Makes an `ImageDataset` of painted silhouettes: uint8 [size, size, 3], 12 classes.

    Every image shows one figure at a random place, angle, scale (0.45 to 0.9 of the image) and
    mild shear. Figure and ground have a random texture each (stripes, checks, dots, noise or a
    gradient) in random colours, and one of them is lighter than the other. The classes are
    balanced. The images are a function of the arguments; the splits have different images.

    Args:
        split: "train" or "test".
        count: number of images; by default 4,000 for train and 1,000 for test.
        size: side of the images in pixels, 16 or more.
        seed: an integer, 0 or more.

    Raises:
        ValueError: an argument out of its range.
    """
    check_split(split)
    if split == "validation":
        raise MissingSplit("shapes has no validation split.")
    count = COUNTS[split] if count is None else count
    _check_integer("count", count, 1)
    _check_integer("size", size, SMALLEST)
    _check_integer("seed", seed, 0)
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    images, labels = _generate(rng, count, size)
    pixels = on_host(images)
    return ImageDataset(
        name="shapes",
        split=split,
        class_names=list(SILHOUETTES),
        labels=labels,
        fingerprint=fingerprint_of("shapes", GENERATOR_VERSION, seed, split, size, count),
        read=lambda index: tf.gather(pixels, index),
    )


def _check_integer(name: str, value: object, least: int) -> None:
    if not isinstance(value, (int, np.integer)) or value < least:
        raise UserError(f"The {name} of shapes is {value!r}; give an integer of {least} or more.")


def _generate(rng: Generator, count: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    labels = rng.permutation(np.arange(count) % len(SILHOUETTES))
    images = np.empty((count, size, size, 3), np.uint8)
    for start in range(0, count, CHUNK):
        images[start : start + CHUNK] = _paint(rng, labels[start : start + CHUNK], size)
    return images, labels


def _paint(rng: Generator, labels: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """Returns uint8 [n, size, size, 3]: figures over grounds."""
    covered = coverage(rng, labels, size)[..., None]
    figure_is_light = rng.random(len(labels)) < 0.5
    figure = textured(rng, figure_is_light, size)
    ground = textured(rng, ~figure_is_light, size)
    return np.rint(255 * (ground + covered * (figure - ground))).astype(np.uint8)


# Outlines: functions of (u, v), coordinates in which the figure fills the unit circle.


def _polygon(*points: Sequence[float]) -> Inside:
    """Returns the inside of a polygon, centred and scaled to touch the unit circle."""
    corners = np.array(points, np.float32)
    for step in range(2, 400):  # towards the centre of the smallest circle around them
        corners -= corners[np.linalg.norm(corners, axis=1).argmax()] / step
    corners /= np.linalg.norm(corners, axis=1).max()
    edges = list(zip(corners, np.roll(corners, -1, axis=0), strict=True))

    def inside(u: Floats, v: Floats) -> NDArray[np.bool_]:
        odd = np.zeros(u.shape, bool)  # number of edges to the right
        for (u0, v0), (u1, v1) in edges:
            if v0 != v1:
                odd ^= ((v < v0) != (v < v1)) & (u < u0 + (v - v0) * ((u1 - u0) / (v1 - v0)))
        return odd

    return inside


def _on_circle(count: int, radii: float | NDArray[np.float64]) -> NDArray[np.float64]:
    angles = np.pi / 2 + 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)


def _flower(u: Floats, v: Floats) -> NDArray[np.bool_]:
    return np.hypot(u, v) < 0.74 + 0.24 * np.cos(6 * np.arctan2(v, u))


def _heart(u: Floats, v: Floats) -> NDArray[np.bool_]:
    u, v = 1.2 * u, 1.2 * v + 0.1
    return (u * u + v * v - 1) ** 3 < u * u * v**3


def _crescent(u: Floats, v: Floats) -> NDArray[np.bool_]:
    u = u - 0.15
    return (u * u + v * v < 0.9) & ((u - 0.5) ** 2 + v * v > 0.6)


CROSS: list[tuple[float, float]] = [(3, 0), (6, 0), (6, 3), (9, 3), (9, 6), (6, 6)]
CROSS += [(9 - x, 9 - y) for x, y in CROSS]  # its other half

SILHOUETTES: dict[str, Inside] = {
    "angle": _polygon((0, 0), (8, 0), (8, 3), (3, 3), (3, 12), (0, 12)),
    "arrow": _polygon((0, 2), (6, 2), (6, 0), (11, 4), (6, 8), (6, 6), (0, 6)),
    "crescent": _crescent,
    "cross": _polygon(*CROSS),
    "disk": lambda u, v: u * u + v * v < 0.72,
    "flower": _flower,
    "heart": _heart,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.7) < 0.2,
    "square": _polygon((0, 0), (1, 0), (1, 1), (0, 1)),
    "star": _polygon(*_on_circle(10, np.tile([1.0, 0.42], 5))),
    "tee": _polygon((0, 10), (0, 7), (3.5, 7), (3.5, 0), (6.5, 0), (6.5, 7), (10, 7), (10, 10)),
    "triangle": _polygon(*_on_circle(3, 1.0)),
}


def coverage(rng: Generator, labels: NDArray[np.int64], size: int) -> Floats:
    """Returns float32 [n, size, size] in [0, 1]: how much of each pixel the figure covers."""
    u, v = _figure_coordinates(rng, len(labels), size * SUPERSAMPLING)
    inside = np.empty(u.shape, np.float32)
    for label, silhouette in enumerate(SILHOUETTES.values()):
        chosen = labels == label
        inside[chosen] = silhouette(u[chosen], v[chosen])
    cells = inside.reshape(len(labels), size, SUPERSAMPLING, size, SUPERSAMPLING)
    return cells.mean(axis=(2, 4))


def _figure_coordinates(rng: Generator, count: int, side: int) -> tuple[Floats, Floats]:
    """Returns the pixels' (u, v) [n, side, side] under a random pose of each figure."""
    scale = rng.uniform(0.45, 0.9, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    stretch = np.exp(rng.uniform(-0.15, 0.15, count))
    shear = rng.uniform(-0.15, 0.15, count)
    shift = rng.uniform(-1, 1, (2, count, 1, 1)) * (1 - scale)[:, None, None]

    x, y = _grid(side) * 2 - 1 - shift  # the image is [-1, 1] x [-1, 1]
    cos, sin = np.cos(angle), np.sin(angle)
    across = [value[:, None, None] for value in (cos / scale / stretch, sin / scale / stretch)]
    along = [value[:, None, None] for value in (-sin / scale * stretch, cos / scale * stretch)]
    u = across[0] * x + across[1] * y
    v = along[0] * x + along[1] * y
    u += shear[:, None, None] * v
    return u.astype(np.float32), v.astype(np.float32)


def _grid(side: int) -> Floats:
    """Returns the pixel centres' x and y in (0, 1), float32 [2, 1, side, side]."""
    centres = (np.arange(side, dtype=np.float32) + 0.5) / side
    return np.stack(np.meshgrid(centres, centres))[:, None]


# Textures: functions of (rng, n, size) that return float32 [n, size, size] in [0, 1].


def _waves(
    rng: Generator, count: int, size: int, least: float, most: float
) -> tuple[Floats, Floats]:
    """Returns two plane waves' phases at right angles to each other, [n, size, size] each."""
    x, y = _grid(size)
    angle, cycles, offset_a, offset_b = rng.random((4, count, 1, 1), np.float32)
    angle = 2 * np.pi * angle
    number = 2 * np.pi * (least + (most - least) * cycles)
    cos, sin = np.cos(angle) * number, np.sin(angle) * number
    a = cos * x + sin * y + 2 * np.pi * offset_a
    b = cos * y - sin * x + 2 * np.pi * offset_b
    return a, b


def _soft_step(values: Floats) -> Floats:
    """Returns two flat tones with an edge about a pixel wide, for values that cross 0."""
    return np.clip(0.5 + 2 * values, 0, 1)


def _stripes(rng: Generator, count: int, size: int) -> Floats:
    return _soft_step(np.sin(_waves(rng, count, size, 3, 8)[0]))


def _checks(rng: Generator, count: int, size: int) -> Floats:
    a, b = _waves(rng, count, size, 2, 5)
    return _soft_step(2 * np.sin(a) * np.sin(b))


def _dots(rng: Generator, count: int, size: int) -> Floats:
    a, b = _waves(rng, count, size, 3, 7)
    return _soft_step(np.cos(a) + np.cos(b) - 0.6)


def _gradient(rng: Generator, count: int, size: int) -> Floats:
    x, y = _grid(size) * 2 - 1
    angle = rng.uniform(0, 2 * np.pi, (count, 1, 1)).astype(np.float32)
    return np.clip(0.5 + 0.5 * (np.cos(angle) * x + np.sin(angle) * y), 0, 1)


def _noise(rng: Generator, count: int, size: int) -> Floats:
    values = np.zeros((count, size, size), np.float32)
    for octave, cells in enumerate((4, 8, 16)):
        weights = _interpolation(cells, size)
        knots = rng.standard_normal((count, cells, cells), np.float32)
        values += weights @ knots @ weights.T / 2**octave
    return np.clip(0.5 + 0.45 * values, 0, 1)


def _interpolation(cells: int, size: int) -> Floats:
    """Returns the float32 [size, cells] matrix of linear interpolation."""
    positions = np.linspace(0, cells - 1, size, dtype=np.float32)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(cells, dtype=np.float32)))


TEXTURES = (_stripes, _checks, _dots, _gradient, _noise)


def textured(rng: Generator, is_light: NDArray[np.bool_], size: int) -> Floats:
    """Returns float32 [n, size, size, 3] in [0, 1], each with a texture of two colours."""
    count = len(is_light)
    kinds = rng.integers(len(TEXTURES), size=count)
    mixed = np.empty((count, size, size, 1), np.float32)
    for kind, texture in enumerate(TEXTURES):
        chosen = kinds == kind
        mixed[chosen, ..., 0] = texture(rng, int(np.count_nonzero(chosen)), size)
    first, second = (_colours(rng, is_light)[:, None, None] for _ in range(2))
    return first + mixed * (second - first)


def _colours(rng: Generator, is_light: NDArray[np.bool_]) -> Floats:
    """Returns float32 [n, 3] of random hue, light or dark so that the outline stays visible."""
    colours = rng.random((len(is_light), 3), np.float32)
    luminance = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    target = rng.uniform(0.05, 0.42, len(is_light)) + 0.53 * is_light
    return np.clip(colours + (target - luminance)[:, None], 0, 1).astype(np.float32)
