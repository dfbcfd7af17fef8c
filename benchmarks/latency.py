"""Images/s that can be read where each read takes long, against the number of reads in flight.

    python -m benchmarks.latency --output=benchmarks/results/latency.json

Shards lie in a stand-in for a bucket, `benchmarks/bucket`: a file system of TensorFlow in which
each read sleeps. The input pipeline of pretraining fetches single records, windows of neighbouring
ones, and files of a folder. Nothing is decoded, so that the processor is not what limits.
"""

import pathlib
import tempfile
import time
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks import bucket
from benchmarks.timing import machine, write_report
from sassl_tf.datasets import load_dataset
from sassl_tf.datasets.dataset import ImageDataset
from training.command import binary
from training.configs import simclr
from training.conversion.writers import example
from training.input.reading import read_in_order

_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)
_MS = flags.DEFINE_multi_float("ms", [20.0, 50.0], "The milliseconds of a read, to compare.")
_READS = flags.DEFINE_multi_integer("reads", [16, 64, 128, 256], "Reads in flight, to compare.")
_WINDOW = flags.DEFINE_integer("window", 16, "The images of a window.")
_SECONDS = flags.DEFINE_float("seconds", 5.0, "The duration of each measurement.")
_IMAGES = flags.DEFINE_integer("images", 4096, "The number of images.")
_BYTES = flags.DEFINE_integer("bytes", 100_000, "The size of an encoded image.")

WARM_UP = 1.0  # seconds
BATCH = 256
TAKEN_AT_ONCE = 16


def write(folder: pathlib.Path, count: int, size: int) -> None:
    """Writes images as shards and as files: a small image, and noise behind it."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    image = tf.io.encode_png(pixels).numpy()
    image += np.random.default_rng(1).bytes(max(0, size - len(image)))
    (folder / "images").mkdir(parents=True)
    for shard in range(8):
        with tf.io.TFRecordWriter(str(folder / f"{shard}.tfrecord")) as writer:
            for _ in range(count // 8):
                writer.write(example(image, 0))
    for number in range(count):
        (folder / "images" / f"{number:06}.png").write_bytes(image)


def images_per_second(dataset: ImageDataset, reads: int, window: int) -> float:
    """Returns how many images are fetched in a second by the input pipeline of pretraining."""
    config = simclr.get_config("imagenet")
    config.batch_size, config.shuffle_window = BATCH, window
    images = read_in_order(dataset, config, reads=reads)
    # One element of a dataset costs Python more than the pipeline needs for an image.
    fetched = iter(images.map(lambda position, *_: position).batch(TAKEN_AT_ONCE))
    taken(fetched, WARM_UP)
    start = time.perf_counter()
    number = taken(fetched, _SECONDS.value)
    return number * TAKEN_AT_ONCE / (time.perf_counter() - start)


def taken(iterator: Any, seconds: float) -> int:
    """Takes elements for a while; returns their number."""
    end, number = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        next(iterator)
        number += 1
    return number


def main(_: list[str]) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as root:
        write(pathlib.Path(root, "b"), _IMAGES.value, _BYTES.value)
        bucket.mount(root)
        shards = load_dataset("records:bucket://b/*.tfrecord")
        forms = {
            "records": (shards, 1),
            f"windows of {_WINDOW.value}": (shards, _WINDOW.value),
            "files": (load_dataset("folder:bucket://b/images"), 1),
        }
        print(f"| a read | reads in flight | {' | '.join(forms)} |\n|---|---|{'---|' * len(forms)}")
        for ms in _MS.value:
            bucket.mount(root, read_ms=ms)
            for reads in _READS.value:
                speeds = {
                    form: images_per_second(dataset, reads, window)
                    for form, (dataset, window) in forms.items()
                }
                rows.append({"ms": ms, "reads": reads, "images_per_second": speeds})
                shown = " | ".join(f"{speed:,.0f}" for speed in speeds.values())
                print(f"| {ms:g} ms | {reads} | {shown} |", flush=True)
    write_report(_OUTPUT.value, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    binary.run(main)
