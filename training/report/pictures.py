"""Pictures of the views that a run trains on."""

import warnings
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from sassl_tf import plot
from sassl_tf.datasets import ImageDataset
from sassl_tf.datasets.dataset import naming_damaged
from training.input.pipeline import LOCAL, SIDES

PICTURED_LOCAL_CROPS = 4


def draw_views(columns: Mapping[str, np.ndarray], name: str) -> Figure:
    """Draws views, and warns if the images are almost black.

    Args:
        columns: what `first_views` returns.
        name: of the dataset, for the warning.

    Returns:
        A Matplotlib figure.
    """
    brightest = columns["original"].max()
    if brightest <= 1 / 255:
        warnings.warn(
            f"The first images of {name} have no value above {255 * brightest:g} of 255: if the "
            "files hold values in [0, 1], or masks, scale them to [0, 255] first.",
            stacklevel=2,
        )
    return plot.image_grid(columns)


def first_views(
    dataset: ImageDataset, batch: Mapping[str, tf.Tensor], count: int
) -> dict[str, np.ndarray]:
    """Returns the first images of a batch and their views.

    Args:
        dataset: the `ImageDataset` of the batch.
        batch: dict of "left", "right" and "index", and of "local" with small crops.
        count: number of images.

    Returns:
        {"original", "left", "right"}, float32 [count, size, size, 3] in [0, 1], and "local 1" and
        so on for the first small crops.
    """
    views = {side: batch[side][:count].numpy() for side in SIDES}
    if LOCAL in batch:
        for number, crops in enumerate(np.moveaxis(batch[LOCAL][:count].numpy(), 1, 0), start=1):
            if number <= PICTURED_LOCAL_CROPS:
                views[f"local {number}"] = crops
    sides = views["left"].shape[1:3]
    with naming_damaged(dataset):
        originals = [
            tf.image.resize(dataset.image(index), sides, antialias=True) / 255.0
            for index in batch["index"][:count]
        ]
    return {"original": np.stack(originals), **views}
