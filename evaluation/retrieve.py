"""Finds the images of a folder that are most similar to one of yours, and draws them.

    python -m evaluation.retrieve --encoder=runs/simclr --query=cat.jpg --images=photos

The picture has a row for each query, with the images of the highest cosine similarity of their
features beside it. It shows in a minute what an encoder takes for alike, without any label. The
features of the folder are kept in the encoder's workdir, so that the next query is quick.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from evaluation.extract import FrozenEncoder, frozen_encoder_from_flags
from evaluation.flags import define_crop_flag, define_encoder_flags
from sassl_tf import plot
from sassl_tf.datasets import ImageDataset
from sassl_tf.datasets.folder import every_image, image_files
from sassl_tf.errors import UserError
from sassl_tf.representation.features import prepare_image
from sassl_tf.representation.retrieval import most_similar
from sassl_tf.typing import PathLike
from training.command import binary


def retrieve(
    frozen: FrozenEncoder,
    queries: ImageDataset,
    images: ImageDataset,
    folder: PathLike,
    count: int,
) -> list[list[tuple[int, float]]]:
    """Finds the images that are most similar to each query.

    An image that is the query itself, the same file, is left out.

    Args:
        frozen: an `evaluation.extract.FrozenEncoder`.
        queries: an `ImageDataset` of M files.
        images: an `ImageDataset` of N files of a folder.
        folder: the folder's path.
        count: how many images are found for each query, at most.

    Returns:
        A list of M lists of (position in `images`, similarity), the most similar first.

    Raises:
        ValueError: the folder has no other image than the query.
    """
    folder = pathlib.Path(folder).expanduser()
    real = [os.path.realpath(query) for query in queries.files]
    features = frozen.features(images, keep=True)
    # One more than asked for: the query may be among them.
    positions, similarities = most_similar(features, frozen.features(queries), count + 1)
    found = []
    for query, *row in zip(real, positions, similarities, strict=True):
        others = [
            (int(position), float(similarity))
            for position, similarity in zip(*row, strict=True)
            if os.path.realpath(folder / images.files[position]) != query
        ]
        if not others:
            raise UserError(f"{folder} has no other image than the query {query}; add some.")
        found.append(others[:count])
    return found


def draw(
    frozen: FrozenEncoder,
    queries: ImageDataset,
    images: ImageDataset,
    found: Sequence[Sequence[tuple[int, float]]],
) -> Figure:
    """Draws each query with the images that were found, as the encoder sees them.

    Args:
        frozen: as for `retrieve`.
        queries: as for `retrieve`.
        images: as for `retrieve`.
        found: what `retrieve` returned.

    Returns:
        A Matplotlib figure.
    """
    columns = 1 + max(map(len, found))
    picture = plot.figure(1.4 * columns + 0.2, 1.55 * len(found) + 0.2)
    axes = picture.subplots(len(found), columns, squeeze=False)

    def show(axis, dataset, position, title):
        image = prepare_image(dataset.image(position), frozen.image_size, frozen.crop_proportion)
        plot.show_image(axis, np.asarray(image))
        axis.set_title(title, fontsize=8)

    for axis in axes.flat:
        axis.set_axis_off()
    for number, (row, neighbours) in enumerate(zip(axes, found, strict=True)):
        show(row[0], queries, number, "query")
        for axis, (position, similarity) in zip(row[1:], neighbours, strict=False):
            show(axis, images, position, f"{similarity:.3f}")
    return picture


def main(_: list[str]) -> None:
    values = flags.FLAGS
    queries, images = image_files(values.query), every_image(values.images)
    frozen = frozen_encoder_from_flags()
    found = retrieve(frozen, queries, images, values.images, values.count)
    for query, neighbours in zip(values.query, found, strict=True):
        print(f"Most similar to {query}:")
        for position, similarity in neighbours:
            print(f"  {similarity:.3f}  {images.files[position]}")
    plot.save(draw(frozen, queries, images, found), values.output)
    print(f"Wrote {values.output}.")


if __name__ == "__main__":
    define_encoder_flags()
    define_crop_flag()
    flags.DEFINE_list("query", None, "The image files to search for, with commas.", required=True)
    flags.DEFINE_string("images", None, "The folder of images to search in.", required=True)
    flags.DEFINE_integer("count", 6, "How many images to find for each query.", lower_bound=1)
    flags.DEFINE_string("output", "neighbours.png", "The picture to write.")
    binary.run(main)
