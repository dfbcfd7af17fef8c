r"""Images per second of whole view pipelines: ours, with and without SASSL, and others'.

    python -m benchmarks.view_pipelines --images=voc100/JPEGImages \
        --output=benchmarks/results/view_pipelines.json

From JPEG files to float32 batches of two views, all on the same files. The pipelines run one at a
time and in turn, several rounds of it; the median counts, with the machine to itself. `ours` is the
input pipeline of pretraining itself.
"""

import functools
import gc
import pathlib
import statistics
import time

import tensorflow as tf
from absl import flags

from benchmarks import rivals
from benchmarks.timing import machine, write_report
from sassl_tf.datasets.folder import every_image
from sassl_tf.errors import UserError
from sassl_tf.stylizers import load_stylizer
from training.command import binary
from training.configs import simclr
from training.input.pipeline import SIDES, view_batches
from training.styles import build_augmentation

_IMAGES = flags.DEFINE_string("images", None, "Folder of JPEG files.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)
_SIZES = flags.DEFINE_multi_integer("size", [96, 224], "Sides of the views, in pixels.")
_BATCH = flags.DEFINE_integer("batch", 32, "The number of images in a batch.")
_BATCHES = flags.DEFINE_integer("batches", 24, "Batches timed in a round.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How often each pipeline is timed; the median counts.")
_STYLIZERS = flags.DEFINE_multi_string(
    "stylizer", ["compact"], "The stylizers to time with SASSL on."
)


def our_config(size, batch, stylizer=None, augment_on="host"):
    """Pretraining's config with SimCLR's views."""
    config = simclr.get_config("imagenet")
    config.image_size, config.batch_size = size, batch
    config.augment_on = augment_on
    config.style = "none" if stylizer is None else "sassl"
    if stylizer is not None:
        config.sassl.stylizer = stylizer
    return config


def ours(paths, size, batch, stylizer=None, augment_on="host"):
    """The input pipeline of pretraining."""
    config = our_config(size, batch, stylizer, augment_on)
    dataset = every_image(pathlib.Path(paths[0]).parent)
    batches = view_batches(dataset, config, build_augmentation(config))
    if augment_on == "device":
        batches = batches.map(lambda batch: (batch["left"]["image"], batch["right"]["image"]))
    else:
        batches = batches.map(lambda batch: (batch["left"], batch["right"]))
    return batches.as_numpy_iterator()


def style_alone(paths, size, batch, stylizer):
    """The layer alone, with the pipeline's draws, on the crops of a few batches in memory."""
    augment = build_augmentation(our_config(size, batch, stylizer))
    config = our_config(size, batch, stylizer, augment_on="device")
    batches = view_batches(every_image(pathlib.Path(paths[0]).parent), config, augment)

    def stylize(batch):
        sides = (batch[side] for side in SIDES if config.views[side].sassl != "none")
        return [
            augment.transform_images(
                tf.image.convert_image_dtype(side["image"], tf.float32), side["draws"]["sassl"]
            )
            for side in sides
        ]

    kept = batches.take(4).cache().repeat()
    return kept.map(stylize, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def images_per_second(make, batches, batch):
    """Measures a fresh pipeline, after first batches that trace, compile and fill buffers."""
    pipeline = make()
    for _ in range(_BATCHES.value // 2):
        next(pipeline)
    start = time.perf_counter()
    for _ in range(batches):
        next(pipeline)
    rate = batches * batch / (time.perf_counter() - start)
    del pipeline
    gc.collect()
    return rate


def with_style(stylizer):
    return f"ours, SASSL {stylizer}"


def alone(stylizer):
    return f"ours, SASSL {stylizer} alone"


def of_the_sum(medians, stylizer):
    """The speed with SASSL on, as a share of what the pipeline and the layer alone predict."""
    predicted = 1 / (1 / medians["ours"] + 1 / medians[alone(stylizer)])
    return round(medians[with_style(stylizer)] / predicted, 3)


def measure(paths, size):
    """A list of rows {size, pipeline, images_per_second, against_ours}, and {stylizer: share of
    what the parts predict}."""
    batch = _BATCH.value
    pipelines = {"ours": functools.partial(ours, paths, size, batch)}
    for stylizer in _STYLIZERS.value:
        pipelines[with_style(stylizer)] = functools.partial(ours, paths, size, batch, stylizer)
        pipelines[alone(stylizer)] = functools.partial(style_alone, paths, size, batch, stylizer)
    crops = "ours, decoding and cropping alone (augment_on=device)"
    pipelines[crops] = functools.partial(ours, paths, size, batch, augment_on="device")
    for name, make in rivals.installed().items():
        pipelines[name] = functools.partial(make, paths, size, batch)
    rates = {name: [] for name in pipelines}
    for _ in range(_ROUNDS.value):
        for name, make in pipelines.items():
            rates[name].append(images_per_second(make, _BATCHES.value, batch))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    rows = [
        {
            "size": size,
            "pipeline": name,
            "images_per_second": round(rate, 1),
            "against_ours": round(rate / medians["ours"], 3),
        }
        for name, rate in medians.items()
    ]
    return rows, {stylizer: of_the_sum(medians, stylizer) for stylizer in _STYLIZERS.value}


def markdown(rows):
    lines = ["| px | pipeline | images/s | against ours |", "|---|---|---|---|"]
    for row in rows:
        lines.append("| {size} | {pipeline} | {images_per_second} | {against_ours} |".format(**row))
    return "\n".join(lines)


def main(_):
    paths = [str(path) for path in sorted(pathlib.Path(_IMAGES.value).glob("*.jp*g"))]
    if not paths:
        raise UserError(
            f"There are no JPEG files in --images={_IMAGES.value}; expected some, .jpg or .jpeg."
        )
    measured = {size: measure(paths, size) for size in _SIZES.value}
    rows = [row for rows, _ in measured.values() for row in rows]
    shares = {size: share for size, (_, share) in measured.items()}
    print(f"Images/s, two views of each: {machine()}\n\n{markdown(rows)}")
    print(f"\nWith SASSL on, of what the parts alone predict: {shares}")
    report = {
        "machine": machine(),
        "compact": load_stylizer("compact").fingerprint,
        "batch": _BATCH.value,
        "results": rows,
        "of_the_sum_of_parts": shares,
    }
    write_report(_OUTPUT.value, report)


if __name__ == "__main__":
    binary.run(main)
