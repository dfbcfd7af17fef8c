"""Timing, the facts about the machine, and the report, which all benchmarks share."""

import importlib.metadata
import json
import pathlib
import platform
import statistics
import time

import keras
import tensorflow as tf

from sassl_tf.files import replacing
from sassl_tf.stylizers.precision import processor_has_bfloat16
from training.input.speed import available_cores


def seconds_in_turn(operations, repeats):
    """{name: seconds} of `{name: operation}`, called in turn: each the median of `repeats` calls.

    They are called as graphs, after two calls that trace and warm up. A machine that is slower for
    a while is so for all of them, and their ratios hold.
    """
    graphs = {name: tf.function(operation) for name, operation in operations.items()}
    durations = {name: [] for name in graphs}
    for _ in range(2 + repeats):
        for name, graph in graphs.items():
            start = time.perf_counter()
            _ = tf.nest.flatten(graph())[0].numpy()
            durations[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[2:]) for name, values in durations.items()}


RIVALS = ("keras-cv", "albumentations", "opencv-python-headless", "torch", "kornia", "scikit-learn")


def machine():
    """Returns the processor and the versions that the numbers were measured with.

    Names of processors do not tell whether they compute in bfloat16, which halves compact's time.
    """
    cpu = platform.processor()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":")[1].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": available_cores(),
        "bfloat16": processor_has_bfloat16(),
        "gpus": len(tf.config.list_physical_devices("GPU")),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        **{name: version(name) for name in RIVALS if version(name)},
    }


def version(package):
    """Returns the version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def write_report(path, report):
    """Writes results as JSON, beside the old file and then in its place."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
