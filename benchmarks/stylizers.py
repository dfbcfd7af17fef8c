"""Fidelity and speed of the stylizers, through the layer that uses them.

    python -m benchmarks.stylizers --mobile=FOLDER_OF_TFLITE_FILES --content=FOLDER/val \
        --styles=FOLDER/test --output=benchmarks/results/stylizers.json \
        [--hub=FOLDER --photos=FOLDER] [--styleaug=CHECKOUT]

Fidelity: the PSNR, in dB, of the final view (α, β ~ U(0.1, 0.3)) against the one that the mobile
stylizer makes with the same draws, as the mean over views, on contents and styles that no training
has seen; F and T both the stylizer's own. "content" is the plain image, the score of doing
nothing. Speed: milliseconds a view for all of Algorithm 1 (F, blending, T, interpolation) on
batches of 32, and how many times as fast as the mobile stylizer in the same run that is.

`--hub` adds the SavedModel of arbitrary-image-stylization-v1-256 against our `magenta` with its
weights (`benchmarks/magenta.py`), and `--styleaug` the networks of StyleAug, on PyTorch
(`benchmarks/styleaug.py`). Without the real SavedModel, `python -m tests.stylizers.hub_module
FOLDER` writes one of the same operations with made-up weights.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import json

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import magenta, styleaug
from benchmarks.timing import machine, seconds_in_turn
from sassl_tf import SASSLAugmentation, StyleBank, load_stylizer
from sassl_tf.files import replacing
from sassl_tf.style_images import style_images

_MOBILE = flags.DEFINE_string("mobile", None, "Folder of Magenta's TFLite files.", required=True)
_COMPACT = flags.DEFINE_string("compact", None, "Weights; those in the package by default.")
_CONTENT = flags.DEFINE_string("content", None, "Folder of held-out images.", required=True)
_STYLES = flags.DEFINE_string("styles", None, "Folder of held-out styles.", required=True)
_HUB = flags.DEFINE_string("hub", None, "SavedModel folder of v1-256, for `magenta`.")
_PHOTOS = flags.DEFINE_string("photos", None, "Folder of larger images, for `magenta`.")
_STYLEAUG = flags.DEFINE_string("styleaug", None, "Checkout of philipjackson/style-augmentation.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)
_CONTENTS = flags.DEFINE_integer("contents", 500, "Images for the fidelity, evenly picked.")
_REPEATS = flags.DEFINE_integer("repeats", 7, "Timed calls; the median counts.")

FIDELITY_SIZE = 128  # px, the size of the held-out images
SPEED_SIZES = (32, 64, 128, 224)
BATCH = 32


def layers(size, banks, compact, mobile):
    """The layers to compare, at a side of the images; every one with the same styles."""
    arguments = {"probability": 1.0, "value_range": (0, 1)}
    made = {
        "mobile": SASSLAugmentation(mobile, banks["mobile"], **arguments),
        "compact": SASSLAugmentation(compact, banks["compact"], **arguments),
    }
    if size >= 32:
        made["mobile, stylize_size half"] = SASSLAugmentation(
            mobile, banks["mobile"], stylize_size=size // 2, **arguments
        )
    return made


def psnr(images, reference):
    """In dB, of values in [0, 1]: {"mean": over images, "pooled": of all squared errors' mean}."""
    errors = np.mean((images - reference) ** 2, axis=(1, 2, 3))
    mean, pooled = np.mean(-10 * np.log10(errors)), -10 * np.log10(np.mean(errors))
    return {"mean": round(float(mean), 2), "pooled": round(float(pooled), 2)}


def fidelity(candidates, images):
    """{name: dB} against the mobile stylizer with the same draws."""
    views = {name: [] for name in candidates}
    for start in range(0, len(images), BATCH):
        batch = tf.constant(images[start : start + BATCH])
        draws = candidates["mobile"].get_random_transformation((len(batch),), (0, start))
        for name, layer in candidates.items():
            views[name].append(layer.transform_images(batch, draws).numpy())
    views = {name: np.concatenate(parts) for name, parts in views.items()}
    reference = views.pop("mobile")
    return {
        "content": psnr(images, reference),
        **{name: psnr(view, reference) for name, view in views.items()},
    }


def speed(candidates, size):
    """{name: milliseconds a view}."""
    images = tf.random.stateless_uniform((BATCH, size, size, 3), (0, 0))
    seed = tf.constant([0, 0])

    def run(layer):
        return lambda: layer(images, seed=seed)

    calls = {name: run(layer) for name, layer in candidates.items()}
    times = seconds_in_turn(calls, _REPEATS.value)
    return {name: 1000 * seconds / BATCH for name, seconds in times.items()}


def main(_):
    compact = load_stylizer("compact", _COMPACT.value)
    mobile = load_stylizer("magenta-mobile", _MOBILE.value)
    banks = {
        "compact": StyleBank.from_images(_STYLES.value, compact),
        "mobile": StyleBank.from_images(_STYLES.value, mobile),
    }
    contents = np.stack(list(style_images(_CONTENT.value, FIDELITY_SIZE).as_numpy_iterator()))
    contents = contents[:: max(1, len(contents) // _CONTENTS.value)][: _CONTENTS.value]

    decibels = fidelity(layers(FIDELITY_SIZE, banks, compact, mobile), contents)
    rows = []
    for size in SPEED_SIZES:
        times = speed(layers(size, banks, compact, mobile), size)
        for name, milliseconds in times.items():
            ratio = times["mobile"] / milliseconds
            row = {"size": size, "stylizer": name, "milliseconds_a_view": round(milliseconds, 3)}
            rows.append({**row, "times_as_fast_as_mobile": round(ratio, 2)})

    with_hub = against_hub() if _HUB.value else {}
    if _STYLEAUG.value:
        with_hub["styleaug"] = styleaug.rows(_STYLEAUG.value, magenta.SIDE, _REPEATS.value)

    report = {
        "machine": machine(),
        "compact": compact.fingerprint,
        "fidelity": {
            "contents": len(contents),
            "styles": len(banks["mobile"]),
            "size": FIDELITY_SIZE,
            "decibels": decibels,
        },
        "speed": {"batch": BATCH, "rows": rows},
        **with_hub,
    }
    with replacing(_OUTPUT.value) as beside:
        beside.write_text(json.dumps(report, indent=1) + "\n")
    print(markdown(report))


def against_hub():
    """{"magenta": ...}: what `benchmarks/magenta.py` measures."""
    stylizer = load_stylizer("magenta", _HUB.value)
    module = tf.saved_model.load(_HUB.value)
    styles = list(style_images(_STYLES.value, magenta.STYLE_SIDE).as_numpy_iterator())
    ways = magenta.layers(stylizer, np.stack(styles))
    photos = list(style_images(_PHOTOS.value, magenta.SIDE).as_numpy_iterator())
    return {
        "magenta": {
            "fingerprint": stylizer.fingerprint,
            "size": magenta.SIDE,
            "speed": magenta.speed(module, ways, _REPEATS.value),
            "errors": {"photos": len(photos), "rows": magenta.errors(ways, np.stack(photos))},
        }
    }


def table(rows):
    """Markdown of rows that are dicts with the same keys."""
    lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def markdown(report):
    """All tables."""
    lines = [
        f"{report['machine']}",
        f"\n{report['fidelity']['contents']} contents of {FIDELITY_SIZE} px, "
        f"{report['fidelity']['styles']} styles:\n",
        "| against mobile | mean dB | dB of the mean error |",
        "|---|---|---|",
        *(
            f"| {name} | {value['mean']} | {value['pooled']} |"
            for name, value in report["fidelity"]["decibels"].items()
        ),
        "",
        *table(report["speed"]["rows"]),
    ]
    if "magenta" in report:
        lines += ["", *table(report["magenta"]["speed"])]
        lines += ["", *table(report["magenta"]["errors"]["rows"])]
    if "styleaug" in report:
        lines += ["", *table(report["styleaug"])]
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)
