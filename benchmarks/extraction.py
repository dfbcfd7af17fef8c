"""The speed of extracting features from JPEG files, against the encoder on ready batches.

    python -m benchmarks.extraction --images=FOLDER --output=benchmarks/results/extraction.json

Images/s of `extract_features`, and of the same encoder called on batches that are ready in memory,
in turn.
"""

import statistics
import time

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.timing import machine, write_report
from sassl_tf.datasets import load_dataset
from sassl_tf.representation.features import extract_features
from training.command import binary
from training.encoders import build_encoder

_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)
_IMAGES = flags.DEFINE_string("images", None, "Folder of class folders.", required=True)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed calls; the median counts.")

BATCH = 128
ENCODERS = [("resnet50", 224, 256), ("resnet18", 224, 512), ("resnet18", 96, 1024)]


def extraction_rows(images, encoders, repeats):
    """A row for each encoder: {"encoder", "size", "ready", "extracted", "ratio"}, in images/s."""
    rows = []
    for name, size, count in encoders:
        encoder = build_encoder(name)
        dataset = images.subset(np.arange(len(images))[:count])
        batch = tf.random.stateless_uniform([BATCH, size, size, 3], [0, 0])
        encode = tf.function(lambda x, encoder=encoder: encoder(x, training=False), autograph=False)
        speeds = {"ready": [], "extracted": []}
        for _ in range(1 + repeats):  # the first of each traces, and does not count
            start = time.perf_counter()
            for _ in range(len(dataset) // BATCH):
                encode(batch).numpy()
            between = time.perf_counter()
            extract_features(encoder, dataset, size, BATCH, progress=False)
            end = time.perf_counter()
            speeds["ready"].append(len(dataset) / (between - start))
            speeds["extracted"].append(len(dataset) / (end - between))
        ready, extracted = (statistics.median(speeds[key][1:]) for key in ("ready", "extracted"))
        row = {"encoder": name, "size": size, "ready": round(ready, 1)}
        rows.append({**row, "extracted": round(extracted, 1), "ratio": round(extracted / ready, 3)})
    return rows


def main(_):
    images = load_dataset(f"folder:{_IMAGES.value}", "train")
    rows = extraction_rows(images, ENCODERS, _REPEATS.value)
    print(f"Images/s: the encoder on ready batches, extraction from JPEG files; {machine()}")
    for row in rows:
        print(row)
    write_report(_OUTPUT.value, {"machine": machine(), "extraction": rows})


if __name__ == "__main__":
    binary.run(main)
