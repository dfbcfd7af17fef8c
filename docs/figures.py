"""Draws the pictures of README and docs from the sample images of the package.

    python -m docs.figures [FOLDER]

FOLDER holds the two TensorFlow Lite files of Magenta's mobile model, which a picture shows beside
ours. Without it they are downloaded.
"""

import io
import pathlib
import sys

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image

import sassl_tf
from evaluation.renditions import RENDITIONS, draw
from sassl_tf import plot, samples

IMAGES = pathlib.Path(__file__).parent / "images"


def save_jpeg(figure, name):
    """JPEG, as palette PNGs band and true-colour ones are large."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    Image.open(buffer).convert("RGB").save(IMAGES / name, quality=85, optimize=True)


def layer(stylizer, bank, factors):
    return sassl_tf.SASSLAugmentation(
        stylizer,
        bank,
        probability=1.0,
        blending_factor=factors,
        interpolation_factor=factors,
    )


def views(stylizer, teacher):
    """Image, style, the image in full style by both stylizers, and views from strong to weak."""
    photographs, styles = samples.photographs(), samples.styles(224)[[0, 1, 5, 4]]
    columns = {"image": photographs, "style": styles}
    for name, one in (("Magenta mobile", teacher), ("compact", stylizer)):
        codes = one.encode_style(styles / np.float32(255))
        columns[f"{name},\nα = β = 1"] = one.stylize(photographs / np.float32(255), codes)
    # Every image in the style beside it: a bank of one style at a time.
    banks = [sassl_tf.StyleBank(code[None], stylizer.fingerprint) for code in codes.numpy()]
    for title, factors, number in (
        ("strong:\nα = β = 0.6", 0.6, 1),
        ("SASSL view 1,\nα, β ~ U(0.1, 0.3)", (0.1, 0.3), 1),
        ("SASSL view 2,\nα, β ~ U(0.1, 0.3)", (0.1, 0.3), 2),
    ):
        columns[title] = [
            layer(stylizer, bank, factors)(image, training=True, seed=np.array([row, number]))
            for row, (image, bank) in enumerate(zip(photographs, banks, strict=True))
        ]
    return plot.image_grid({name: np.asarray(images) for name, images in columns.items()})


def side_by_side(stylizer, teacher):
    """Photographs, and what teacher and stylizer make of them, from the paper's factors to all."""
    photographs, columns = samples.photographs(), {"content": samples.photographs()}
    styles = samples.styles(256)[: len(photographs)] / np.float32(255)
    for factor in (0.3, 0.6, 1.0):
        for name, one in (("Magenta mobile", teacher), ("compact", stylizer)):
            banks = [sassl_tf.StyleBank(c[None], one.fingerprint) for c in codes_of(one, styles)]
            columns[f"{name},\nα = β = {factor:g}"] = [
                layer(one, bank, factor)(image, training=True, seed=np.zeros(2, int))
                for image, bank in zip(photographs, banks, strict=True)
            ]
    return plot.image_grid({name: np.asarray(images) for name, images in columns.items()})


def codes_of(stylizer, styles):
    return stylizer.encode_style(styles).numpy()


def alpha_beta(stylizer):
    images = samples.photographs(160)[1:2]
    codes = stylizer.encode_style(samples.styles()[4:5] / np.float32(255))
    return plot.alpha_beta_grid(images, codes, stylizer)


def algorithm(stylizer):
    """Algorithm 1 as a flow from left to right, with what it makes of an image."""
    content = samples.photographs(160)[2:3] / np.float32(255)
    style = samples.styles(160)[5:6] / np.float32(255)
    z_c, z_s = stylizer.encode_style(content), stylizer.encode_style(style)
    alpha, beta = 0.6, 0.6
    stylized = stylizer.stylize(content, (1 - alpha) * z_c + alpha * z_s).numpy()
    view = (1 - beta) * content + beta * stylized

    width, height = 11.4, 3.9
    made = plot.figure(width, height)
    made.set_layout_engine("none")  # everything has its place
    canvas = made.add_axes((0, 0, 1, 1))
    canvas.set(xlim=(0, width), ylim=(0, height))
    canvas.set_axis_off()

    def picture(image, x, y, name):
        left, bottom = (x - 0.6) / width, (y - 0.6) / height
        axis = made.add_axes((left, bottom, 1.2 / width, 1.2 / height))
        plot.show_image(axis, image[0])
        canvas.text(x, y - 0.82, name, ha="center", va="center", fontsize=12)

    def box(text, x, y, wide=0.8, high=0.7):
        corner = x - wide / 2, y - high / 2
        shape = {"boxstyle": "round,pad=0.03", "facecolor": "#dfe3f5", "edgecolor": "#3f51b5"}
        canvas.add_patch(FancyBboxPatch(corner, wide, high, **shape))
        canvas.text(x, y, text, ha="center", va="center", fontsize=12)

    def arrow(start, end, bend=0.0):
        style = {"arrowstyle": "-|>", "mutation_scale": 13, "color": "#444444"}
        canvas.add_patch(FancyArrowPatch(start, end, connectionstyle=f"arc3,rad={bend}", **style))

    picture(content, 0.8, 2.7, "image $i_c$")
    picture(style, 0.8, 0.95, "style $i_s$")
    box("F", 2.2, 2.7)
    box("F", 2.2, 0.95)
    for y, name, above in ((2.7, "$z_c$", 0.02), (0.95, "$z_s$", -0.12)):
        arrow((1.42, y), (1.77, y))
        canvas.text(2.95, y + above, name, fontsize=12)
    box(
        "$\\hat{z} = (1-\\alpha)\\,z_c + \\alpha\\,z_s$\n$\\alpha \\sim U(0.1, 0.3)$", 4.3, 1.8, 2.1
    )
    arrow((2.63, 2.7), (3.5, 2.2))
    arrow((2.63, 0.95), (3.5, 1.4))
    box("T", 6.0, 1.8)
    arrow((5.4, 1.8), (5.57, 1.8))
    picture(stylized, 7.2, 1.8, "$\\hat{i}_{cs} = T(i_c, \\hat{z})$")
    arrow((6.43, 1.8), (6.58, 1.8))
    box("$(1-\\beta)\\,i_c + \\beta\\,\\hat{i}_{cs}$\n$\\beta \\sim U(0.1, 0.3)$", 8.85, 1.8, 1.6)
    arrow((7.82, 1.8), (8.0, 1.8))
    picture(view, 10.65, 1.8, "view $i_{cs}$")
    arrow((9.68, 1.8), (10.03, 1.8))
    arrow((1.42, 3.25), (8.85, 2.2), bend=-0.17)  # the image goes into the view as well
    arrow((1.42, 3.15), (6.0, 2.2), bend=-0.24)  # and T draws it
    canvas.text(10.65, 2.55, "drawn with α = β = 0.6", ha="center", fontsize=8, color="#666666")
    return made


def rivals(stylizer):
    """Photographs under every style augmentation at full strength, styles of one batch."""
    full = {"probability": 1, "blending_factor": 1}
    layers = {
        "SASSL, bank,\nα = β = 1": sassl_tf.SASSLAugmentation(
            stylizer, interpolation_factor=1, **full
        ),
        "RandomStyle,\nα = 1": sassl_tf.RandomStyle(stylizer, **full),
        "RandomStyle,\nα = 0.5": sassl_tf.RandomStyle(stylizer, probability=1),
        "FourierStyle,\nα = 1": sassl_tf.FourierStyle(**full),
        "FourierStyle,\none in batch,\n0.01 of spectrum": sassl_tf.FourierStyle(
            "one_in_batch", frequency_share=0.01, **full
        ),
        "ColorStatistics,\nRGB, α = 1": sassl_tf.ColorStatistics(**full),
        "ColorStatistics,\nlαβ, α = 1": sassl_tf.ColorStatistics(color_space="lab", **full),
    }
    photographs, seed = samples.photographs(), np.array([3, 0])
    columns = {
        name: np.asarray(augment(photographs, seed=seed)) for name, augment in layers.items()
    }
    return plot.image_grid({"image": photographs, **columns})


def drawings():
    """Photographs, and what `evaluation.renditions` draws of them."""
    photographs = samples.photographs(128)
    drawn = {name: np.stack([draw(one, name) for one in photographs]) for name in RENDITIONS}
    return plot.image_grid({"image": photographs, **drawn})


def main():
    stylizer = sassl_tf.load_stylizer("compact")
    teacher = sassl_tf.load_stylizer("magenta-mobile", *sys.argv[1:])
    save_jpeg(views(stylizer, teacher), "views.jpg")
    save_jpeg(side_by_side(stylizer, teacher), "stylizers.jpg")
    save_jpeg(alpha_beta(stylizer), "alpha_beta.jpg")
    save_jpeg(rivals(stylizer), "rivals.jpg")
    save_jpeg(drawings(), "renditions.jpg")
    plot.save(algorithm(stylizer), IMAGES / "algorithm.png")


if __name__ == "__main__":
    main()
