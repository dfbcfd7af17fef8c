"""What α and β do to your own images: Algorithm 1 of SASSL's paper on a grid of both.

    python -m evaluation.style_grid --images=photos --styles=paintings --output=grid.png

A block of rows for each image: α, how far the style code goes from the image's own to that of the
style, grows downwards, and β, how much of the stylized image goes into the view, to the right. The
paper draws both from 0.1 to 0.3 (arXiv 2312.01187); that is what a training should look at.
"""

import numpy as np
import tensorflow as tf
from absl import flags

from sassl_tf import StyleBank, load_stylizer, plot
from sassl_tf.datasets.folder import every_image
from training.command import binary


def style_grid(folder, output, stylizer, styles, count=3, image_size=160, seed=0):
    """Draws the grids of some images of a folder, each with a style of its own.

    Args:
        folder: of images.
        output: the PNG.
        stylizer: F and T.
        styles: a `StyleBank` of the stylizer.
        count: how many images, drawn at random.
        image_size: side of the squares that are cut from their centres.
        seed: of the draws.

    Raises:
        ValueError: no images, or styles of another stylizer.
    """
    styles.check_made_by(stylizer)
    dataset = every_image(folder)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(dataset))[:count]
    images = [_square(dataset.image(int(index)), image_size) for index in chosen]
    codes = styles.codes[rng.integers(0, len(styles), len(images))]
    plot.save(plot.alpha_beta_grid(images, codes, stylizer), output)


def _square(image, side):
    scale = side / tf.reduce_min(tf.shape(image)[:2])
    shape = tf.cast(tf.math.ceil(scale * tf.cast(tf.shape(image)[:2], tf.float64)), tf.int32)
    resized = tf.image.resize(image, shape, antialias=True)
    return tf.clip_by_value(tf.image.resize_with_crop_or_pad(resized, side, side) / 255.0, 0, 1)


def main(_):
    values = flags.FLAGS
    stylizer = load_stylizer(values.stylizer, values.weights)
    if values.styles:
        styles = StyleBank.from_images(values.styles, stylizer)
    else:
        styles = StyleBank.default(values.stylizer)
    arguments = values.count, values.image_size, values.seed
    style_grid(values.images, values.output, stylizer, styles, *arguments)
    print(f"Wrote {values.output}.")


if __name__ == "__main__":
    flags.DEFINE_string("images", None, "Folder of images.", required=True)
    flags.DEFINE_string("styles", None, "Folder of style images; by default the bank of compact.")
    flags.DEFINE_string("output", "style_grid.png", "The picture.")
    flags.DEFINE_string("stylizer", "compact", "compact, magenta or magenta-mobile.")
    flags.DEFINE_string("weights", None, "Of the stylizer, where its name is not enough.")
    flags.DEFINE_integer("count", 3, "Images.", lower_bound=1)
    flags.DEFINE_integer("image_size", 160, "Side of the squares, px.", lower_bound=16)
    flags.DEFINE_integer("seed", 0, "Of the draws.")
    binary.run(main)
