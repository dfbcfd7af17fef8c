"""The start of a run over as many images as ImageNet has: seconds, memory, bytes of the graph.

    python -m benchmarks.at_size --output=benchmarks/results/at_size.json

The images are made here: tiny JPEGs, the same ones again and again, in 1,024 shards for `records:`
and as files for `folder:`. So the numbers are of finding, remembering and shuffling images, not of
reading a disk: the shards lie in the memory of the system. Each row is of processes of its own:

- the first look: `load_dataset` with nothing remembered;
- a start: the second `load_dataset`, the graph of the pipeline, and its first batch;
- a restart: `training.pretrain` is killed after a step and started again, until its next row of
  metrics.
"""

import concurrent.futures
import contextlib
import io
import multiprocessing
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags
from PIL import Image

from benchmarks.timing import machine, write_report
from sassl_tf.datasets import load_dataset
from training.command import binary
from training.configs.simclr import get_config
from training.conversion.writers import example
from training.input.pipeline import view_batches
from training.report.metrics import read_metrics

_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)
_RECORDS = flags.DEFINE_integer("records", 1_281_167, "The number of records.")
_SHARDS = flags.DEFINE_integer("shards", 1024, "The number of shards.")
_FILES = flags.DEFINE_integer("files", 300_000, "The number of files of the folder; 0 for none.")
_FOLDER = flags.DEFINE_string(
    "folder", None, "Where the images are made, and removed at the end; by default a new folder."
)

CLASSES = 1000
SIDE = 48  # pixels
DIFFERENT = 64  # images
BATCH_SIZE = 256


def jpegs() -> list[bytes]:
    """Returns encoded images of random colours."""
    rng, images = np.random.default_rng(0), []
    for _ in range(DIFFERENT):
        data = io.BytesIO()
        blocks = rng.integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(blocks).resize((SIDE, SIDE)).save(data, "JPEG")
        images.append(data.getvalue())
    return images


def write_records(folder: pathlib.Path, count: int, shards: int) -> str:
    """Writes shards, all but the last of one content; returns the dataset's name."""
    folder.mkdir(parents=True)
    images = jpegs()
    sizes = np.diff(np.linspace(0, count, shards + 1).astype(int))
    whole: dict[int, pathlib.Path] = {}
    for number, size in enumerate(sizes.tolist()):
        path = folder / f"train-{number:05}.tfrecord"
        if size in whole:
            shutil.copyfile(whole[size], path)
            continue
        with tf.io.TFRecordWriter(str(path)) as writer:
            for position in range(size):
                writer.write(example(images[position % DIFFERENT], position % CLASSES))
        whole[size] = path
    return f"records:{folder}/train-*.tfrecord"


def write_files(folder: pathlib.Path, count: int) -> str:
    """Writes class folders of image files; returns the dataset's name."""
    images = jpegs()
    for label in range(CLASSES):
        (folder / "train" / f"n{label:08}").mkdir(parents=True)
    for number in range(count):
        name = f"n{number % CLASSES:08}"
        path = folder / "train" / name / f"{name}_{number}.jpg"
        path.write_bytes(images[number % DIFFERENT])
    return f"folder:{folder}"


def in_a_process(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Returns the result of a function that is called in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, *arguments).result()


def first_look(name: str) -> dict[str, Any]:
    """Loads a dataset of which nothing is remembered."""
    before, start = peak_gib(), time.perf_counter()
    dataset = load_dataset(name)
    return {
        "images": len(dataset),
        "first_look_seconds": time.perf_counter() - start,
        "first_look_gib": peak_gib(),
        "gib_before": before,
    }


def start(name: str) -> dict[str, Any]:
    """Loads a dataset that is remembered, up to the first batch of views."""
    begin = time.perf_counter()
    dataset = load_dataset(name)
    loaded = time.perf_counter()
    batches = view_batches(dataset, config_of(name))
    built = time.perf_counter()
    variant = tf.data.experimental.to_variant(batches)
    graph = len(tf.raw_ops.DatasetToGraphV2(input_dataset=variant).numpy())
    serialized = time.perf_counter()  # for its size alone, which no start needs
    next(iter(batches))
    end = time.perf_counter()
    return {
        "load_seconds": loaded - begin,
        "first_batch_seconds": end - serialized + built - begin,
        "graph_mb": graph / 1e6,
        "start_gib": peak_gib(),
    }


def config_of(name: str) -> Any:
    """Returns the config of the pipeline: two views of 32 px, without SASSL."""
    config = get_config("smoke")
    config.dataset, config.batch_size, config.image_size = name, BATCH_SIZE, 32
    config.style = "none"
    return config


def restart(name: str, workdir: pathlib.Path) -> dict[str, Any]:
    """Kills a pretraining after a step, and times it until it has taken the next."""
    command = [sys.executable, "-m", "training.pretrain", f"--workdir={workdir}"]
    command += ["--config=training/configs/simclr.py:smoke", f"--config.dataset={name}"]
    command += ["--config.log_every=1", "--config.checkpoint_every=1", "--config.style=none"]
    seconds, done = [], 0
    for _ in range(2):
        begin = time.perf_counter()
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        while not any(row["step"] > done for row in read_metrics(workdir)):
            if process.poll() is not None:
                raise SystemExit(f"{command} ended with {process.returncode}.")
            time.sleep(0.1)
        seconds.append(time.perf_counter() - begin)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = max(row["step"] for row in read_metrics(workdir))
    return {"restart_seconds": seconds[1]}


def peak_gib() -> float:
    """Returns the largest resident memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measured(name: str, folder: pathlib.Path) -> dict[str, Any]:
    """Returns the row of a dataset."""
    os.environ["SASSL_CACHE"] = str(folder / "cache")
    row = {"dataset": name.partition(":")[0], **in_a_process(first_look, name)}
    row.update(in_a_process(start, name))
    row.update(restart(name, folder / "run"))
    return row


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a table."""
    lines = [
        "| | images | first look, s | GiB | start: load, s | to the first batch, s | GiB "
        "| graph, MB | restart after a kill, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row['dataset']}:` | {row['images']:,} | {row['first_look_seconds']:.0f} "
        f"| {row['first_look_gib']:.2f} | {row['load_seconds']:.1f} "
        f"| {row['first_batch_seconds']:.1f} | {row['start_gib']:.2f} | {row['graph_mb']:.1f} "
        f"| {row['restart_seconds']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main(_: list[str]) -> None:
    rows = []
    with contextlib.ExitStack() as stack:
        above = _FOLDER.value or stack.enter_context(tempfile.TemporaryDirectory())
        for kind, count in (("records", _RECORDS.value), ("folder", _FILES.value)):
            if not count:
                continue
            folder = pathlib.Path(above, f"at_size_{kind}")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            images = folder / "images"
            if kind == "records":
                name = write_records(images, count, _SHARDS.value)
            else:
                name = write_files(images, count)
            rows.append(measured(name, folder))
            print(markdown(rows[-1:]), flush=True)
    print(markdown(rows))
    write_report(_OUTPUT.value, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    binary.run(main)
