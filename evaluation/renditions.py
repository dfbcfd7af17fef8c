r"""Draws images as cartoons and pencil sketches: other domains for `evaluation.domains`.

    python -m evaluation.renditions --dataset=folder:photos --output=drawn
    python -m evaluation.domains --encoder=runs/simclr --train=folder:photos \
        --test=folder:drawn/cartoon,folder:drawn/pencil

The images of the test split are drawn:

    cartoon   flat colours and dark outlines: OpenCV's `stylization`, with its default arguments
              (Gastal and Oliveira 2011, Domain Transform for Edge-Aware Image Processing)
    pencil    grey lines on white: the luminance, divided by that of its surroundings

Filters keep every shape where it is, which people who draw do not. So this is an easier domain than
the sketches of PACS. Images are drawn at their own size. The lines of cartoons are some pixels wide
whatever that is, so draw images of one size. OUTPUT appears when all is written.
"""

import shlex
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import tensorflow as tf
from absl import flags

from sassl_tf import arguments
from sassl_tf.datasets import ImageDataset, load_dataset
from sassl_tf.datasets.dataset import naming_damaged
from sassl_tf.errors import UserError
from sassl_tf.extras import import_extra
from sassl_tf.files import replacing
from sassl_tf.typing import PathLike
from training.command import binary
from training.conversion.source import Source
from training.conversion.writers import check_is_new, write_folders

RENDITIONS = ("cartoon", "pencil")
SURROUNDINGS = 1 / 32  # of the shorter side: the standard deviation of the Gaussian


def draw(image: np.ndarray, rendition: str) -> np.ndarray:
    """Returns a rendition of an image.

    Args:
        image: uint8 [H, W, 3].
        rendition: one of `RENDITIONS`.

    Returns:
        uint8 [H, W, 3].

    Raises:
        PackageError: OpenCV is not installed.
        ValueError: there is no such rendition.
    """
    arguments.choice(rendition, "rendition", RENDITIONS)
    cv2 = _opencv()
    if rendition == "cartoon":
        as_opencv = np.ascontiguousarray(image[..., ::-1])  # blue, green, red
        return np.ascontiguousarray(cv2.stylization(as_opencv)[..., ::-1])
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    around = cv2.GaussianBlur(grey, (0, 0), min(grey.shape) * SURROUNDINGS)
    # One more on both sides, so that black areas become white, as all areas without lines.
    drawn = np.minimum(255, 255 * (grey + 1) / (around + 1))
    return np.repeat(np.rint(drawn).astype(np.uint8)[..., None], 3, axis=2)


def write_renditions(dataset: ImageDataset, output: PathLike) -> int:
    """Writes `OUTPUT/RENDITION/test/CLASS/NUMBER.png`.

    Args:
        dataset: the labelled images to draw.
        output: the folder to make.

    Returns:
        The number of images that were drawn, each in all renditions.

    Raises:
        PackageError: OpenCV is not installed.
        ValueError: the images have no labels, or the output exists.
    """
    _opencv()
    check_is_new(output)
    if not dataset.class_names:
        raise UserError(
            f"{dataset.name} has no class folders; a probe is tested on images with labels."
        )
    with replacing(output) as beside:
        for rendition in RENDITIONS:
            source = Source(dataset.class_names, _drawn(dataset, rendition))
            count = write_folders(source, beside / rendition)
    return count


def _opencv() -> ModuleType:
    return import_extra("cv2", "robustness", "Drawing images")


def _drawn(dataset: ImageDataset, rendition: str) -> Iterator[tuple[str, int, bytes]]:
    """Yields (split, label, PNG) of each image."""

    def one(image: np.ndarray) -> np.ndarray:
        return draw(image, rendition)

    @tf.autograph.experimental.do_not_convert
    def png(index: tf.Tensor) -> tf.Tensor:
        image = tf.numpy_function(one, [dataset.image(index)], tf.uint8)
        return tf.io.encode_png(tf.ensure_shape(image, [None, None, 3]))

    indices = tf.data.Dataset.range(len(dataset))
    images = indices.map(png, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    with naming_damaged(dataset):
        for label, image in zip(dataset.labels, images.as_numpy_iterator(), strict=True):
            yield "test", int(label), image


def main(_: list[str]) -> None:
    values = flags.FLAGS
    check_is_new(values.output)  # before the images are listed, which may take long
    count = write_renditions(load_dataset(values.dataset, "test", values.data_dir), values.output)
    tested = ",".join(f"folder:{values.output}/{rendition}" for rendition in RENDITIONS)
    command = ["python", "-m", "evaluation.domains", "--encoder=ENCODER"]
    command += [f"--train={values.dataset}", f"--test={tested}"]
    print(f"Drew {count} images. Test on them: {shlex.join(command)}")


if __name__ == "__main__":
    flags.DEFINE_string("dataset", None, "The dataset whose test split is drawn.", required=True)
    flags.DEFINE_string("output", None, "The folder to write; it must not exist.", required=True)
    flags.DEFINE_string("data_dir", None, "The folder of prepared TFDS datasets.")
    binary.run(main)
