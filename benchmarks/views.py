"""Images per second of the view operations: ours, KerasCV's and Keras's.

    python -m benchmarks.views --output=benchmarks/results/views.json

Each operation is called on one batch at a time, as a graph, and is applied to every image (flips of
Keras and KerasCV to half of them). Ours takes its draws as given, so that drawing has a row of its
own, which covers all operations of a view.
"""

import keras
import tensorflow as tf
from absl import flags

from benchmarks.timing import machine, seconds_in_turn, write_report
from sassl_tf import views
from sassl_tf.views import host
from sassl_tf.views.draws import draw_crop, draw_operations
from training.command import binary

_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)
_SIZES = flags.DEFINE_multi_integer("size", [96, 224], "Sides of the views, in pixels.")
_BATCH = flags.DEFINE_integer("batch", 32, "Images a call.")
_REPEATS = flags.DEFINE_integer("repeats", 7, "Timed calls; the median counts.")

DISTORTIONS = ("jitter", "grayscale", "blur", "solarize")

# Why a layer is not used, whatever its speed.
FLAWS = {
    ("crop and resize", "KerasCV"): "no bicubic; stateful draws; fails under XLA",
    ("crop and resize", "Keras"): "none exists; RandomCrop draws one crop a batch",
    ("flip", "KerasCV"): "stateful draws",
    ("flip", "Keras"): "stateful draws",
    ("jitter", "KerasCV"): "ignores `seed`; fixed order; adds brightness",
    ("jitter", "Keras"): "fixed order; adds brightness; stateful draws",
    ("blur", "KerasCV"): "ignores `seed`",
    ("blur", "Keras"): "one sigma a batch; factor 1 blurs about half",
    ("solarize", "Keras"): "lower threshold not scaled to 255",
}


def our_operations(images, size):
    """{operation: function of no arguments}, all draws made beforehand."""
    batch = len(images)
    view = views.View()
    seeds = tf.stack([tf.zeros([batch], tf.int32), tf.range(batch)], axis=1)
    larger = tf.image.resize(images, (size * 4 // 3, size * 4 // 3))
    shape = tf.shape(larger)[1:]
    draw = tf.function(lambda seed: views.draw_view(view, shape, seed))
    draws = tf.nest.map_structure(lambda *scalars: tf.stack(scalars), *map(draw, seeds))
    draws |= {"flip": tf.ones([batch], tf.bool)}

    def only(name):
        """`distort` with one operation, on every image."""
        others = {key: tf.fill([batch], key == name) for key in ("flip", *DISTORTIONS)}
        return lambda: host.distort(images, draws | others, view.jitter_law, size // 10)

    def crop_all():
        def crop(args):
            return views.crop_view(args[0], {"crop": args[1]}, size)

        return tf.map_fn(crop, (larger, draws["crop"]), fn_output_signature=tf.float32)

    def draw_all():
        crop = {"crop": tf.TensorSpec([4], tf.int32)}
        crops = tf.map_fn(lambda one: draw_crop(view, shape, one), seeds, fn_output_signature=crop)
        return crops | draw_operations(view, seeds)

    return {
        "draws of a view": draw_all,
        "crop and resize": crop_all,
        "flip": lambda: host.flip_and_rescale(images, draws["flip"]),
        **{name: only(name) for name in DISTORTIONS},
        "a whole view after the crop": lambda: views.finish_views(images, draws, view),
    }


def layer_operations(images, size):
    """{(operation, library): function of no arguments}."""
    import keras_cv  # takes seconds: only when the benchmark runs

    taps = size // 10 // 2 * 2 + 1
    larger = tf.image.resize(images, (size * 4 // 3, size * 4 // 3)) * 255.0
    images = images * 255.0
    bytes_range = {"value_range": (0, 255)}
    theirs, kerass = keras_cv.layers, keras.layers
    layers = {
        ("crop and resize", "KerasCV"): theirs.RandomCropAndResize(
            (size, size), (0.08, 1.0), (3 / 4, 4 / 3)
        ),
        ("flip", "KerasCV"): theirs.RandomFlip("horizontal"),
        ("flip", "Keras"): kerass.RandomFlip("horizontal"),
        ("jitter", "KerasCV"): theirs.RandomColorJitter((0, 255), 0.8, 0.8, 0.8, 0.2),
        ("jitter", "Keras"): kerass.RandomColorJitter((0, 255), 0.8, 0.8, 0.8, 0.2),
        ("grayscale", "KerasCV"): theirs.Grayscale(output_channels=3),
        ("grayscale", "Keras"): kerass.RandomGrayscale(1.0),
        ("blur", "KerasCV"): theirs.RandomGaussianBlur(taps, (0.1, 2.0)),
        ("blur", "Keras"): kerass.RandomGaussianBlur(1.0, taps, (0.1, 2.0)),
        ("solarize", "KerasCV"): theirs.Solarization(threshold_factor=(0.5, 0.5), **bytes_range),
        ("solarize", "Keras"): kerass.Solarization(threshold_factor=(0.5, 0.5), **bytes_range),
    }

    def call(key, layer):
        batch = larger if key[0] == "crop and resize" else images
        return lambda: layer(batch, training=True)

    return {key: call(key, layer) for key, layer in layers.items()}


def measure(size, batch, repeats):
    """A list of rows {size, operation, library, images_per_second, flaw}."""
    images = tf.random.stateless_uniform([batch, size, size, 3], [0, 0])
    ours = {(name, "ours"): run for name, run in our_operations(images, size).items()}
    seconds = seconds_in_turn(ours | layer_operations(images, size), repeats)
    return [
        {
            "size": size,
            "operation": name,
            "library": library,
            "images_per_second": round(batch / taken),
            "flaw": FLAWS.get((name, library), ""),
        }
        for (name, library), taken in seconds.items()
    ]


def markdown(rows):
    """One line an operation and size; a column a library; their flaws last."""
    lines = [
        "| px | operation | ours | KerasCV | Keras | why theirs is not used |",
        "|---|---|---|---|---|---|",
    ]
    for size, name in dict.fromkeys((row["size"], row["operation"]) for row in rows):
        here = {
            row["library"]: row["images_per_second"]
            for row in rows
            if (row["size"], row["operation"]) == (size, name)
        }
        speeds = " | ".join(str(here.get(library, "–")) for library in ("ours", "KerasCV", "Keras"))
        flaws = "; ".join(
            f"{library}: {FLAWS[name, library]}"
            for library in ("KerasCV", "Keras")
            if (name, library) in FLAWS
        )
        lines.append(f"| {size} | {name} | {speeds} | {flaws} |")
    return "\n".join(lines)


def main(_):
    rows = [row for size in _SIZES.value for row in measure(size, _BATCH.value, _REPEATS.value)]
    print(f"Images/s, batch {_BATCH.value}: {machine()}\n\n{markdown(rows)}")
    report = {"machine": machine(), "batch": _BATCH.value, "results": rows}
    write_report(_OUTPUT.value, report)


if __name__ == "__main__":
    binary.run(main)
