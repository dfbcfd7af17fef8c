"""Contents and styles for the distillation of a stylizer: crops, colours, generated textures.

Every batch is a function of a seed. The images are kept in memory as bytes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from sassl_tf.style_images import style_images
from sassl_tf.typing import Array, PathLike

CONTENT_SIZE = 128  # px
STYLE_SIZE = 256  # px, which the teacher's F takes
STYLES_AS_CONTENTS = 0.15  # share of batches; crops above 128 px need images of more pixels
TEXTURES = 0.3  # share of styles that are generated
WAVES = 4  # in a generated pattern


def read_images(folder: PathLike, side: int) -> np.ndarray:
    """Returns the centre of every image under a folder, uint8 [N, side, side, 3]."""
    images = style_images(folder, side).map(to_bytes)
    return np.stack(list(images.as_numpy_iterator()))


def to_bytes(images: tf.Tensor) -> tf.Tensor:
    """Converts images from [0, 1] to uint8."""
    return tf.saturate_cast(tf.round(255 * images), tf.uint8)


@dataclasses.dataclass(frozen=True)
class DistillationImages:
    """Holds photographs, uint8 [N, 128, 128, 3], and style images, uint8 [M, 256, 256, 3]."""

    photographs: np.ndarray
    styles: np.ndarray

    @classmethod
    def from_folders(cls, contents: Sequence[PathLike], styles: PathLike) -> DistillationImages:
        """Reads several folders of photographs and one of style images."""
        photographs = [read_images(folder, CONTENT_SIZE) for folder in contents]
        return cls(np.concatenate(photographs), read_images(styles, STYLE_SIZE))

    def batch(self, rng: np.random.Generator, side: int, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws a batch.

        Args:
            rng: a `numpy.random.Generator`.
            side: of the contents, in pixels.
            count: number of contents, and of styles.

        Returns:
            Contents [count, side, side, 3] and styles [count, 256, 256, 3], float32 in [0, 1].
        """
        pool = self.styles if rng.random() < STYLES_AS_CONTENTS else self.photographs
        contents = pool[rng.integers(len(pool), size=count)]
        styles = self.styles[rng.integers(len(self.styles), size=count)]
        seeds = rng.integers(2**31, size=(2, 2))
        return _contents(contents, seeds[0], side), _styles(styles, seeds[1])


@tf.function(reduce_retracing=True, autograph=False)
def _contents(images, seed, side):
    seeds = tf.random.split(seed, 2)
    return recolour(square_crops(images, seeds[0], 0.35, side), seeds[1], permute=False)


@tf.function(reduce_retracing=True, autograph=False)
def _styles(images, seed):
    seeds = tf.random.split(seed, 4)
    crops = square_crops(images, seeds[0], 0.4, STYLE_SIZE)
    count = tf.shape(images)[0]
    generated = tf.random.stateless_uniform((count, 1, 1, 1), seeds[1]) < TEXTURES
    crops = tf.where(generated, textures(count, seeds[2], STYLE_SIZE), crops)
    return recolour(crops, seeds[3], permute=True)


def square_crops(images: Array, seed: Array, smallest: float, side: int) -> tf.Tensor:
    """Crops a random square of each image, mirrors half of them, and resizes them.

    Args:
        images: [B, H, H, 3], values in [0, 255].
        seed: int [2].
        smallest: the smallest side of a crop, as a share of the image's side.
        side: of the result, in pixels.

    Returns:
        float32 [B, side, side, 3] in [0, 1].
    """
    count = tf.shape(images)[0]
    u = tf.random.stateless_uniform((4, count), seed)
    scale = smallest + (1 - smallest) * u[0]
    top, left = (1 - scale) * u[1], (1 - scale) * u[2]
    right = left + scale
    mirrored = u[3] < 0.5
    x_from, x_to = tf.where(mirrored, right, left), tf.where(mirrored, left, right)
    boxes = tf.stack([top, x_from, top + scale, x_to], axis=1)
    return tf.image.crop_and_resize(images, boxes, tf.range(count), (side, side)) / 255.0


def recolour(images: tf.Tensor, seed: Array, permute: bool) -> tf.Tensor:
    """Changes contrast, brightness, saturation and colour balance of half of the images.

    Args:
        images: float [B, H, W, 3] in [0, 1].
        seed: int [2].
        permute: whether the channels also change places.
    """
    count = tf.shape(images)[0]
    seeds = tf.random.split(seed, 5)

    def draw(number, shape, low, high):
        return tf.random.stateless_uniform((count, 1, 1, *shape), seeds[number], low, high)

    new = images
    if permute:
        order = tf.argsort(draw(0, (3,), 0.0, 1.0)[:, 0, 0], axis=-1)
        new = tf.einsum("bhwc,bdc->bhwd", new, tf.one_hot(order, 3))
    gray = tf.reduce_mean(new, axis=-1, keepdims=True)
    new = gray + (new - gray) * draw(1, (1,), 0.3, 1.6)
    new = 0.5 + (new - 0.5) * draw(2, (3,), 0.6, 1.3) + draw(3, (3,), -0.15, 0.15)
    changed = draw(4, (1,), 0.0, 1.0) < 0.5
    return tf.clip_by_value(tf.where(changed, new, images), 0.0, 1.0)


def textures(count: int | tf.Tensor, seed: Array, side: int) -> tf.Tensor:
    """Generates patterns of plane waves and noise in two random colours, with soft or hard edges.

    Args:
        count: number of images.
        seed: int [2].
        side: in pixels.

    Returns:
        float32 [count, side, side, 3] in [0, 1].
    """
    seeds = tf.random.split(seed, 6)
    uniform = tf.random.stateless_uniform
    at = tf.linspace(0.0, 1.0, side)
    periods = tf.exp(uniform((count, WAVES, 1, 1), seeds[0], math.log(2.0), math.log(60.0)))
    angle, phase = tf.unstack(2 * math.pi * uniform((2, count, WAVES, 1, 1), seeds[1]))
    along = tf.cos(angle) * at[:, None] + tf.sin(angle) * at
    strength = uniform((count, WAVES, 1, 1), seeds[2])
    height = tf.reduce_sum(
        strength * tf.sin(2 * math.pi * periods * along + phase), axis=1, keepdims=True
    )
    noise = tf.image.resize(uniform((count, side // 8, side // 8, 1), seeds[3]) - 0.5, (side, side))
    height = tf.transpose(height, (0, 2, 3, 1)) + 2 * noise
    hardness = tf.exp(uniform((count, 1, 1, 1), seeds[4], 0.0, math.log(20.0)))
    share = tf.sigmoid(hardness * height)
    first, second = tf.unstack(uniform((2, count, 1, 1, 3), seeds[5]))
    return share * first + (1 - share) * second
