"""Grids of images: views, styles, and α against β."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sassl_tf.plot.canvas import figure
from sassl_tf.typing import Array

if TYPE_CHECKING:
    from sassl_tf import SASSLAugmentation, Stylizer

FACTORS = (0.0, 0.1, 0.3, 0.6, 1.0)  # the paper draws both α and β from 0.1 to 0.3


def show_image(axis: Axes, image: Array) -> None:
    """Draws an image, uint8 or float, without ticks; floats are clipped to [0, 1]."""
    image = np.asarray(image)
    axis.imshow(image if image.dtype == np.uint8 else np.clip(image, 0, 1))
    axis.set_axis_off()


def image_grid(columns: Mapping[str, Array], title: str | None = None) -> Figure:
    """Draws images side by side, in titled columns.

    Args:
        columns: {title: images}, images float [N, H, W, 3] in [0, 1] or uint8. There are N rows.
        title: of the figure.
    """
    rows = len(next(iter(columns.values())))
    grid = figure(1.3 * len(columns) + 0.2, 1.3 * rows + 0.5)
    axes = grid.subplots(rows, len(columns), squeeze=False)
    for column, (name, images) in enumerate(columns.items()):
        axes[0, column].set_title(name, fontsize=9)
        for row in range(rows):
            show_image(axes[row, column], images[row])
    if title:
        grid.suptitle(title)
    return grid


def attention_grid(images: Array, attention: Array, heads: int = 6) -> Figure:
    """Draws images beside the attention of a vision transformer's class token to their patches.

    The colours of each map go from 0 to its largest value.

    Args:
        images: uint8 [N, H, W, 3], or float in [0, 1].
        attention: float [N, heads, h, w], as `sassl_tf.representation.attention.class_attention`
            returns it.
        heads: number of heads to draw, after their mean.
    """
    images, attention = np.asarray(images), np.asarray(attention)
    maps = {"mean of heads": attention.mean(axis=1)}
    for number in range(min(heads, attention.shape[1])):
        maps[f"head {number + 1}"] = attention[:, number]
    grid = figure(1.3 * (len(maps) + 1) + 0.2, 1.3 * len(images) + 0.5)
    axes = grid.subplots(len(images), len(maps) + 1, squeeze=False)
    axes[0, 0].set_title("image", fontsize=9)
    for row, image in zip(axes, images, strict=True):
        show_image(row[0], image)
    for column, (name, values) in enumerate(maps.items(), start=1):
        axes[0, column].set_title(name, fontsize=9)
        for axis, value in zip(axes[:, column], values, strict=True):
            axis.imshow(value, cmap="viridis", vmin=0)
            axis.set_axis_off()
    return grid


def view_grid(images: Array, augment: SASSLAugmentation, count: int = 5, seed: int = 0) -> Figure:
    """Draws images and views of them by the layer: a row for each image, with `count` views.

    Args:
        images: uint8 [N, H, W, 3], or float in the layer's `value_range`.
        augment: the layer.
        count: views of each image.
        seed: of the draws; the same seed gives the same picture.
    """
    low, high = augment.value_range
    images = np.asarray(images)

    def shown(batch: np.ndarray) -> np.ndarray:
        return batch if batch.dtype == np.uint8 else (batch - low) / (high - low)

    columns = {"image": shown(images)}
    for number in range(1, count + 1):
        views = augment(images, training=True, seed=tf.constant([seed, number]))
        columns[f"view {number}"] = shown(np.asarray(views))
    return image_grid(columns)


def style_grid(images: Array, styles: Array, stylizer: Stylizer) -> Figure:
    """Draws every image in every style with α = β = 1.

    There is a row for each image and a column for each style. This is the strongest effect of a
    style on an image; a view has a small part of it.

    Args:
        images: float [N, H, W, 3] in [0, 1], or uint8.
        styles: float [S, h, w, 3] in [0, 1], or uint8.
        stylizer: F and T.
    """
    images, styles = _unit(images), _unit(styles)
    codes = stylizer.encode_style(styles)
    grid = figure(1.3 * (len(styles) + 1) + 0.2, 1.3 * (len(images) + 1) + 0.2)
    axes = grid.subplots(len(images) + 1, len(styles) + 1, squeeze=False)
    axes[0, 0].set_axis_off()
    for axis, style in zip(axes[0, 1:], styles, strict=True):
        show_image(axis, style)
    for row, image in zip(axes[1:], images, strict=True):
        show_image(row[0], image)
        content = np.repeat(image[None], len(styles), axis=0)
        for axis, stylized in zip(row[1:], stylizer.stylize(content, codes), strict=True):
            show_image(axis, stylized)
    return grid


def alpha_beta_grid(
    images: Array,
    codes: Array,
    stylizer: Stylizer,
    alphas: Sequence[float] = FACTORS,
    betas: Sequence[float] = FACTORS,
) -> Figure:
    """Draws Algorithm 1 for every α (downwards) and β (to the right), in a block for each image.

    Args:
        images: float [N, H, W, 3] in [0, 1], or uint8: the contents i_c.
        codes: float [N, code_size]: a style's z_s for each.
        stylizer: F and T.
        alphas: values of α in [0, 1]: 0 is the code of the image, 1 that of the style.
        betas: values of β in [0, 1]: 0 is the image, 1 the stylized image.
    """
    images = _unit(images)
    grid = figure(1.2 * len(betas) + 0.8, 1.2 * len(alphas) * len(images) + 0.4)
    axes = grid.subplots(len(alphas) * len(images), len(betas), squeeze=False)
    for number, (image, code) in enumerate(zip(images, np.asarray(codes), strict=True)):
        rows = axes[number * len(alphas) : (number + 1) * len(alphas)]
        views = blended(image, code, stylizer, alphas, betas)
        for row, alpha, some in zip(rows, alphas, views, strict=True):
            for axis, view in zip(row, some, strict=True):
                show_image(axis, view)
            row[0].set_title(f"α = {alpha:g}", loc="left", fontsize=7)
    for axis, beta in zip(axes[0], betas, strict=True):
        before = axis.get_title(loc="left")
        axis.set_title(f"{before}  β = {beta:g}".strip(), loc="left", fontsize=7)
    return grid


def blended(
    image: Array,
    code: Array,
    stylizer: Stylizer,
    alphas: Sequence[float] = FACTORS,
    betas: Sequence[float] = FACTORS,
) -> np.ndarray:
    """Returns the views of `alpha_beta_grid` of one image: float32 [A, B, H, W, 3] in [0, 1]."""
    content = tf.cast(image, tf.float32)[None]
    z_c = stylizer.encode_style(content)
    code = tf.convert_to_tensor(code, tf.float32)
    views = []
    for alpha in alphas:
        stylized = stylizer.stylize(content, (1 - alpha) * z_c + alpha * code[None])[0]
        views.append([(1 - beta) * content[0] + beta * stylized for beta in betas])
    return np.array(views, np.float32)


def _unit(images: Array) -> np.ndarray:
    images = np.asarray(images)
    return images.astype(np.float32) / 255 if images.dtype == np.uint8 else images
