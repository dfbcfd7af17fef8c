"""A grid of α and β on your own images: Algorithm 1 of SASSL's paper with each pair of them.

    python -m evaluation.alpha_beta_grid --images=photos --styles=paintings --output=grid.png

Each image gets a block of rows. α, how far the style code goes from the image's own to that of the
style, grows downwards; β, how much of the stylized image goes into the view, grows to the right.
The paper draws both from 0.1 to 0.3 (arXiv 2312.01187): these rows and columns show what a training
with its settings sees.
"""

import numpy as np
import tensorflow as tf
from absl import flags

from sassl_tf import StyleBank, Stylizer, load_stylizer, plot
from sassl_tf.datasets.folder import every_image
from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike
from training.command import binary


def draw_grid(
    folder: PathLike,
    output: PathLike,
    stylizer: Stylizer,
    styles: StyleBank,
    count: int = 3,
    image_size: int = 160,
    seed: int = 0,
) -> None:
    """Draws the grids of some images of a folder, each with a style of its own.

    Args:
        folder: a folder of images.
        output: the PNG file to write.
        stylizer: the `Stylizer`, F and T.
        styles: a `StyleBank` of the stylizer.
        count: how many images are drawn at random.
        image_size: the side in pixels of the squares that are cut from the images' centres.
        seed: the seed of the draws.

    Raises:
        ValueError: no images, or styles of another stylizer.
    """
    styles.check_made_by(stylizer)
    dataset = every_image(folder)
    rng = np.random.default_rng(seed)
    indices = rng.permutation(len(dataset))[:count]
    images = [_square(dataset.image(int(index)), image_size) for index in indices]
    codes = styles.codes[rng.integers(0, len(styles), len(images))]
    plot.save(plot.alpha_beta_grid(images, codes, stylizer), output)


def _square(image, side):
    scale = side / tf.reduce_min(tf.shape(image)[:2])
    shape = tf.cast(tf.math.ceil(scale * tf.cast(tf.shape(image)[:2], tf.float64)), tf.int32)
    resized = tf.image.resize(image, shape, antialias=True)
    return tf.clip_by_value(tf.image.resize_with_crop_or_pad(resized, side, side) / 255.0, 0, 1)


def main(_: list[str]) -> None:
    values = flags.FLAGS
    stylizer = load_stylizer(values.stylizer, values.weights)
    if not values.styles:
        if values.stylizer not in StyleBank.DEFAULTS:
            raise UserError(
                f"There is no style bank of {values.stylizer} in the package; give --styles, a "
                "folder of style images or a style bank."
            )
        styles = StyleBank.default(values.stylizer)
    elif values.styles.endswith(".npz"):
        styles = StyleBank.load(values.styles)
    else:
        styles = StyleBank.from_images(values.styles, stylizer)
    draw_grid(
        values.images,
        values.output,
        stylizer,
        styles,
        count=values.count,
        image_size=values.image_size,
        seed=values.seed,
    )
    print(f"Wrote {values.output}.")


if __name__ == "__main__":
    flags.DEFINE_string("images", None, "The folder of images.", required=True)
    flags.DEFINE_string(
        "styles",
        None,
        "A folder of style images, or a style bank (.npz) of the stylizer; by default the bank of "
        "compact.",
    )
    flags.DEFINE_string("output", "alpha_beta_grid.png", "The picture to write.")
    flags.DEFINE_string("stylizer", "compact", "The stylizer: compact, magenta or magenta-mobile.")
    flags.DEFINE_string("weights", None, "The stylizer's weights, if its name is not enough.")
    flags.DEFINE_integer("count", 3, "How many images to draw.", lower_bound=1)
    flags.DEFINE_integer("image_size", 160, "The side of the squares in pixels.", lower_bound=16)
    flags.DEFINE_integer("seed", 0, "The seed of the draws of images and styles.")
    binary.run(main)
