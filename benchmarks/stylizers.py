r"""Fidelity against time of the stylizers, through the layer that uses them.

    python -m benchmarks.stylizers --mobile=FOLDER_OF_TFLITE_FILES --content=FOLDER/val \
        --styles=FOLDER/test --output=benchmarks/results/stylizers.json \
        [--photos=FOLDER --hub=FOLDER] [--styleaug=CHECKOUT] [--picture=FILE.png]

Texture: whether T's own picture (β = 1) has the teacher's style and its fine detail, at α = 0.2 and
1 (`benchmarks/texture.py`); the mobile stylizer is the teacher. Fidelity: the PSNR, in dB, of the
final view (α, β ~ U(0.1, 0.3)) against the one that the mobile stylizer makes with the same draws,
as the mean over views. Both on contents and styles that no training has seen, F and T both the
stylizer's own; "the plain image" is the score of doing nothing; at 128 px on `--content`, at 224 px
on `--photos`. Speed: milliseconds a view for all of Algorithm 1 (F, blending, T, interpolation) on
batches of 32, and how many times as fast as the mobile stylizer in the same run that is.

`--hub` adds the SavedModel of arbitrary-image-stylization-v1-256, as TF Hub's tutorial calls it, on
batches of 8, and our `magenta` with its weights (`benchmarks/magenta.py`); `--styleaug` the
networks of StyleAug, on PyTorch (`benchmarks/styleaug.py`). Without the real SavedModel, `python -m
tests.stylizers.hub_module FOLDER` writes one of the same operations with made-up weights.
`--picture` draws views of a few contents by all of them, for people to compare.
"""

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks import magenta, styleaug, texture
from benchmarks.timing import machine, seconds_in_turn, write_report
from sassl_tf import SASSLAugmentation, StyleBank, load_stylizer, plot
from sassl_tf.style_images import style_images
from training.command import binary

_MOBILE = flags.DEFINE_string("mobile", None, "Folder of Magenta's TFLite files.", required=True)
_COMPACT = flags.DEFINE_string("compact", None, "Weights; those in the package by default.")
_CONTENT = flags.DEFINE_string("content", None, "Folder of held-out images.", required=True)
_STYLES = flags.DEFINE_string("styles", None, "Folder of held-out styles.", required=True)
_HUB = flags.DEFINE_string("hub", None, "SavedModel folder of v1-256.")
_PHOTOS = flags.DEFINE_string("photos", None, "Folder of images of 224 px and more.")
_STYLEAUG = flags.DEFINE_string("styleaug", None, "Checkout of philipjackson/style-augmentation.")
_PICTURE = flags.DEFINE_string("picture", None, "PNG of views to look at.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)
_CONTENTS = flags.DEFINE_integer("contents", 500, "Images for the fidelity, evenly picked.")
_REPEATS = flags.DEFINE_integer("repeats", 7, "Timed calls; the median counts.")

TEXTURE_CONTENTS = 96
SPEED_SIZES = (32, 64, 128, 224)
BATCH = 32
WAYS = {
    "mobile": ("mobile", {"precision": "float32"}),
    "mobile, bfloat16": ("mobile", {"precision": "bfloat16"}),
    "mobile, stylize_size 3/4": ("mobile", {"precision": "float32", "share": 0.75}),
    "mobile, stylize_size 1/2": ("mobile", {"precision": "float32", "share": 0.5}),
    "compact, float32": ("compact", {"precision": "float32"}),
    "compact, bfloat16": ("compact", {"precision": "bfloat16"}),
    "compact, bfloat16, stylize_size 3/4": ("compact", {"precision": "bfloat16", "share": 0.75}),
    "compact, bfloat16, stylize_size 1/2": ("compact", {"precision": "bfloat16", "share": 0.5}),
}


def layers(size, banks, stylizers, **factors):
    """{way: layer}, at a side of the images; every one with the same styles."""
    made = {}
    for way, (name, arguments) in WAYS.items():
        share = arguments.get("share")
        made[way] = SASSLAugmentation(
            stylizers[name],
            banks[name],
            probability=1.0,
            value_range=(0, 1),
            precision=arguments["precision"],
            stylize_size=round(share * size) if share else None,
            **factors,
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
        "the plain image": psnr(images, reference),
        **{name: psnr(view, reference) for name, view in views.items()},
    }


def texture_rows(banks, stylizers, images):
    """Rows of `benchmarks.texture.texture`, against the mobile stylizer in float32."""
    encode = tf.function(stylizers["mobile"].encode_style)
    return texture.texture(layers(images.shape[1], banks, stylizers), "mobile", images, encode)


def speed(candidates, size, module=None):
    """{name: milliseconds a view}; `module` is the SavedModel, which is called on fewer images."""
    images = tf.random.stateless_uniform((BATCH, size, size, 3), (0, 0))
    seed = tf.constant([0, 0])

    def run(layer):
        return lambda: layer(images, seed=seed)

    calls = {name: run(layer) for name, layer in candidates.items()}
    batches = dict.fromkeys(calls, BATCH)
    if module is not None:
        few = max(magenta.BATCHES)
        styles = tf.random.stateless_uniform((few, magenta.STYLE_SIDE, magenta.STYLE_SIDE, 3), seed)
        calls["SavedModel"], batches["SavedModel"] = lambda: module(images[:few], styles), few
    times = seconds_in_turn(calls, _REPEATS.value)
    return {name: 1000 * seconds / batches[name] for name, seconds in times.items()}


PICTURED = ("mobile", "compact, bfloat16")
FACTORS = {"α = β = 0.3": (0.3, 0.3), "α = β = 0.6": (0.6, 0.6), "α = β = 1": (1.0, 1.0)}


def picture(contents, banks, stylizers):
    """Contents and what `PICTURED` make of them: as in the paper at most, stronger, in full."""
    columns = {"content": contents}
    for factors, (alpha, beta) in FACTORS.items():
        arguments = {"blending_factor": alpha, "interpolation_factor": beta}
        candidates = layers(contents.shape[1], banks, stylizers, **arguments)
        draws = candidates["mobile"].get_random_transformation((len(contents),), (0, 1))
        for way in PICTURED:
            views = candidates[way].transform_images(tf.constant(contents), draws).numpy()
            columns[f"{way},\n{factors}"] = views
    return plot.image_grid(columns)


def main(_):
    stylizers = {
        "compact": load_stylizer("compact", _COMPACT.value),
        "mobile": load_stylizer("magenta-mobile", _MOBILE.value),
    }
    banks = {name: StyleBank.from_images(_STYLES.value, made) for name, made in stylizers.items()}
    found, contents, textures = [], {}, []
    for size, folder in ((128, _CONTENT.value), (224, _PHOTOS.value)):
        if folder:
            images = np.stack(list(style_images(folder, size).as_numpy_iterator()))
            images = images[:: max(1, len(images) // _CONTENTS.value)][: _CONTENTS.value]
            decibels = fidelity(layers(size, banks, stylizers), images)
            found.append({"size": size, "contents": len(images), "decibels": decibels})
            contents[size] = images
            few = images[:: max(1, len(images) // TEXTURE_CONTENTS)][:TEXTURE_CONTENTS]
            rows = texture_rows(banks, stylizers, few)
            textures.append({"size": size, "contents": len(few), "rows": rows})
    if _PICTURE.value:
        few = contents[max(contents)][:: len(contents[max(contents)]) // 6][:6]
        plot.save(picture(few, banks, stylizers), _PICTURE.value)

    module = tf.saved_model.load(_HUB.value) if _HUB.value else None
    rows = []
    for size in SPEED_SIZES:
        module_here = module if size == magenta.SIDE else None
        times = speed(layers(size, banks, stylizers), size, module_here)
        for name, milliseconds in times.items():
            row = {"size": size, "stylizer": name, "milliseconds_a_view": round(milliseconds, 3)}
            for other in ("mobile", "SavedModel"):
                if other in times:
                    row[f"times_as_fast_as_{other}"] = round(times[other] / milliseconds, 2)
            rows.append(row)

    with_hub = against_hub(module) if _HUB.value else {}
    if _STYLEAUG.value:
        with_hub["styleaug"] = styleaug.rows(_STYLEAUG.value, magenta.SIDE, _REPEATS.value)

    report = {
        "machine": machine(),
        "compact": stylizers["compact"].fingerprint,
        "styles": len(banks["mobile"]),
        "texture": textures,
        "fidelity": found,
        "speed": {"batch": BATCH, "rows": rows},
        **with_hub,
    }
    write_report(_OUTPUT.value, report)
    print(markdown(report))


def against_hub(module):
    """{"magenta": ...}: what `benchmarks/magenta.py` measures."""
    stylizer = load_stylizer("magenta", _HUB.value)
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
    """Markdown of rows that are dicts; those that lack a key of the others have a dash."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = [keys, ["---"] * len(keys), *([row.get(key, "–") for key in keys] for row in rows)]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def markdown(report):
    """All tables."""
    lines = [f"{report['machine']}; {report['styles']} styles"]
    for found in report["texture"]:
        lines += [f"\nT's own picture, {found['contents']} contents of {found['size']} px:\n"]
        lines += table(found["rows"])
    for found in report["fidelity"]:
        lines += [f"\nAgainst mobile, {found['contents']} contents of {found['size']} px, dB:\n"]
        lines += table([{"view": way, **value} for way, value in found["decibels"].items()])
    lines += ["", *table(report["speed"]["rows"])]
    if "magenta" in report:
        lines += ["", *table(report["magenta"]["speed"])]
        lines += ["", *table(report["magenta"]["errors"]["rows"])]
    if "styleaug" in report:
        lines += ["", *table(report["styleaug"])]
    return "\n".join(lines)


if __name__ == "__main__":
    binary.run(main)
