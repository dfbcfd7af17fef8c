"""What α and β do to your own images: Algorithm 1 of SASSL's paper on a grid of both.

    python -m evaluation.style_grid --images=photos --styles=paintings --output=grid.png

A block of rows for each image: α, how far the style code goes from the image's own to that of the
style, grows downwards, and β, how much of the stylized image goes into the view, to the right. The
paper draws both from 0.1 to 0.3 (arXiv 2312.01187); that is what a training should look at.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from absl import app, flags

from sassl_tf import StyleBank, load_stylizer, plot
from sassl_tf.datasets.folder import every_image

ALPHAS = (0.0, 0.1, 0.3, 0.6, 1.0)
BETAS = (0.0, 0.1, 0.3, 0.6, 1.0)


def grid(image, code, stylizer, alphas=ALPHAS, betas=BETAS):
    """Every α against every β.

    Args:
        image: float [H, W, 3] in [0, 1], the content i_c.
        code: float [code_size], the style's z_s.
        stylizer: F and T.
        alphas, betas: numbers in [0, 1].

    Returns:
        float32 [A, B, H, W, 3] in [0, 1].
    """
    content = tf.cast(image, tf.float32)[None]
    z_c = stylizer.encode_style(content)
    views = []
    for alpha in alphas:
        stylized = stylizer.stylize(content, (1 - alpha) * z_c + alpha * code[None])[0]
        views.append([(1 - beta) * content[0] + beta * stylized for beta in betas])
    return np.array(views, np.float32)


def draw(images, codes, stylizer, alphas=ALPHAS, betas=BETAS):
    """A Matplotlib figure of a grid for each image [N, H, W, 3] and code [N, code_size]."""
    made = plot.figure(1.2 * len(betas) + 0.8, 1.2 * len(alphas) * len(images) + 0.4)
    axes = made.subplots(len(alphas) * len(images), len(betas), squeeze=False)
    for number, (image, code) in enumerate(zip(images, codes, strict=True)):
        rows = axes[number * len(alphas) : (number + 1) * len(alphas)]
        views = grid(image, code, stylizer, alphas, betas)
        for row, alpha, some in zip(rows, alphas, views, strict=True):
            for axis, view in zip(row, some, strict=True):
                plot.show_image(axis, view)
            row[0].set_title(f"α = {alpha:g}", loc="left", fontsize=7)
    for axis, beta in zip(axes[0], betas, strict=True):
        axis.set_title(
            f"{axis.get_title(loc='left')}  β = {beta:g}".strip(), loc="left", fontsize=7
        )
    return made


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
    plot.save(draw(images, codes, stylizer), output)


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
    app.run(main)
