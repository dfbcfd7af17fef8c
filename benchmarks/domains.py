r"""Texture of "compact" on other contents than photographs: drawings, paintings, medical images.

    python -m benchmarks.domains --mobile=FOLDER_OF_TFLITE_FILES --styles=FOLDER/test \
        --contents=textures=FOLDER --contents=retina=FOLDER \
        --output=benchmarks/results/domains.json [--picture=FILE.png]

The measures of `benchmarks/texture.py` against the mobile stylizer, at 128 px, in float32, at
α = 0.2 and 1. Flat drawings, the made-up `shapes`, are always among the contents, and so are line
drawings: the same shapes by their edges. `--picture` draws four contents of each domain in full
style by both.
"""

import numpy as np
import scipy.ndimage
import tensorflow as tf
from absl import flags

from benchmarks import texture
from benchmarks.timing import machine, write_report
from sassl_tf import SASSLAugmentation, StyleBank, load_stylizer, plot
from sassl_tf.datasets import load_dataset
from sassl_tf.style_images import style_images
from training.command import binary

_MOBILE = flags.DEFINE_string("mobile", None, "Folder of Magenta's TFLite files.", required=True)
_STYLES = flags.DEFINE_string("styles", None, "Folder of held-out styles.", required=True)
_CONTENTS = flags.DEFINE_multi_string("contents", [], "Domains of contents, as NAME=FOLDER.")
_PICTURE = flags.DEFINE_string("picture", None, "PNG of pictures in full style to look at.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)

SIZE = 128
IMAGES = 96
STYLIZERS = ("mobile", "compact")


def drawings():
    """Returns flat drawings, float32 [IMAGES, SIZE, SIZE, 3] in [0, 1]: made-up shapes."""
    dataset = load_dataset("shapes", "test")
    stored = np.stack([dataset.image(index) for index in range(IMAGES)])
    return tf.image.resize(stored / 255, (SIZE, SIZE), "bicubic").numpy().clip(0, 1)


def line_drawings(images):
    """Returns dark lines on white paper, where the images have edges."""
    grey = images.mean(axis=-1)
    steps = np.hypot(scipy.ndimage.sobel(grey, 1), scipy.ndimage.sobel(grey, 2))
    lines = 1 - np.clip(2 * steps, 0, 1)
    return np.repeat(lines[..., None], 3, axis=-1).astype(np.float32)


def contents():
    """Returns {domain: float32 [N, SIZE, SIZE, 3] in [0, 1]}."""
    flat = drawings()
    found = {"flat drawings": flat, "line drawings": line_drawings(flat)}
    for entry in _CONTENTS.value:
        name, folder = entry.split("=", 1)
        images = np.stack(list(style_images(folder, SIZE).as_numpy_iterator()))
        found[name] = images[:: max(1, len(images) // IMAGES)][:IMAGES]
    return found


def layers(stylizers, banks):
    """Returns {stylizer: layer} in float32, all of the same styles in the same order."""
    return {
        name: SASSLAugmentation(
            stylizers[name],
            banks[name],
            probability=1.0,
            value_range=(0, 1),
            precision="float32",
        )
        for name in STYLIZERS
    }


def picture(domains, candidates):
    """Returns a grid of contents and of what the stylizers make of them at α = β = 1."""
    few = np.concatenate([images[:: len(images) // 4][:4] for images in domains.values()])
    styles = np.random.default_rng(1).random(len(few), np.float32)
    columns = {"content": few}
    for name in STYLIZERS:
        columns[name] = texture.pictures_of(candidates[name], few, 1.0, styles)
    return plot.image_grid(columns)


def markdown(report):
    """Returns the table: for each domain and stylizer, the measures at both α."""
    lines = [
        "| contents | stylizer | style gap | energy of fine detail | of it explained | dB |",
        "|---|---|---|---|---|---|",
    ]
    for domain in report["domains"]:
        names = dict.fromkeys(row["stylizer"] for row in domain["rows"])
        for name in names:
            rows = [row for row in domain["rows"] if row["stylizer"] == name]
            cells = [
                " / ".join(f"{row[measure]:.{digits}f}" for row in rows)
                for measure, digits in texture.DIGITS.items()
            ]
            lines.append(f"| {domain['contents']} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(_):
    stylizers = {
        "compact": load_stylizer("compact"),
        "mobile": load_stylizer("magenta-mobile", _MOBILE.value),
    }
    banks = {name: StyleBank.from_images(_STYLES.value, made) for name, made in stylizers.items()}
    candidates, domains = layers(stylizers, banks), contents()
    encode = tf.function(stylizers["mobile"].encode_style)
    rows = [
        {
            "contents": name,
            "images": len(images),
            "rows": texture.texture(candidates, "mobile", images, encode),
        }
        for name, images in domains.items()
    ]
    report = {"machine": machine(), "compact": stylizers["compact"].fingerprint, "domains": rows}
    write_report(_OUTPUT.value, report)
    if _PICTURE.value:
        plot.save(picture(domains, candidates), _PICTURE.value)
    print(markdown(report))


if __name__ == "__main__":
    binary.run(main)
