"""The data service: batches/s against the number of workers, and what is lost or comes twice.

    python -m benchmarks.data_service --output=benchmarks/results/data_service.json

Real processes on this machine, started as `training.data_worker` is on others.

Scaling: batches of the pretraining pipeline, each of which also sleeps, as if its views took that
long on cores of the worker's own; so it shows how the service scales beyond this machine's cores.

Guarantees: numbers 0 ... N - 1 as the elements, by two workers of which one is killed on the way,
with and without another one in its place. Counted is what the client never saw and saw twice.
"""

import collections
import contextlib
import socket
import subprocess
import sys
import time

import tensorflow as tf
from absl import flags
from tensorflow.python.data.experimental.ops import testing  # its `sleep` is nowhere public

from benchmarks.timing import machine, write_report
from sassl_tf import SASSLAugmentation
from sassl_tf.datasets.shapes import shapes
from training.command import binary
from training.configs.simclr import get_config
from training.input.data_service import NoBatches, next_within, served
from training.input.pipeline import view_batches

_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)
_WORKERS = flags.DEFINE_multi_integer("workers", [1, 2, 4, 8], "How many, to compare.")
_SLEEP = flags.DEFINE_float("sleep", 0.25, "Seconds that a batch sleeps.")
_BATCHES = flags.DEFINE_integer("batches", 40, "Timed batches.")
_ELEMENTS = flags.DEFINE_integer("elements", 600, "Elements for the guarantees.")


@contextlib.contextmanager
def service():
    """Yields the dispatcher's address and a function that starts a worker."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = []

    def start(*arguments):
        command = [sys.executable, "-m", "training.data_worker", "--allow_remote", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        process.stdout.readline()  # it says when it is ready
        return process

    try:
        start("--role=dispatcher", f"--port={port}")
        address = f"localhost:{port}"
        yield address, lambda: start("--role=worker", f"--dispatcher={address}")
    finally:
        for process in processes:
            process.kill()
            process.wait()


def slow_batches():
    """The pretraining pipeline on small images, with SASSL; every batch sleeps."""
    config = get_config("smoke")
    config.image_size, config.batch_size = 16, 8
    dataset = shapes("train", count=48, size=24)
    batches = view_batches(dataset, config, SASSLAugmentation(value_range=(0, 1)))
    return batches.apply(testing.sleep(round(_SLEEP.value * 1e6)))


def batches_per_second(workers):
    with service() as (address, start_worker):
        for _ in range(workers):
            start_worker()
        batches = iter(served(slow_batches(), address))
        for _ in range(4 * workers):  # until every worker has traced its pipeline
            next(batches)
        times = [time.perf_counter()]
        for _ in range(_BATCHES.value):
            next(batches)
            times.append(time.perf_counter())
        return _BATCHES.value / (times[-1] - times[0])


def counted(policy, replaced):
    """{"lost": , "twice": } of a service's elements, whose worker is killed after a third."""
    with service() as (address, start_worker):
        first, _ = start_worker(), start_worker()
        numbers = tf.data.Dataset.range(_ELEMENTS.value).apply(testing.sleep(5000))
        numbers = numbers.apply(
            tf.data.experimental.service.distribute(policy, f"grpc://{address}")
        )
        seen, numbers = collections.Counter(), iter(numbers)
        # A client waits for ever for what a dead worker had; so the count ends when nothing comes.
        with contextlib.suppress(StopIteration, NoBatches):
            while True:
                seen[int(next_within(numbers, patience=20.0))] += 1
                if seen.total() == _ELEMENTS.value // 3:
                    first.kill()
                    if replaced:
                        start_worker()
        lost = _ELEMENTS.value - len(seen)
        return {"lost": lost, "twice": sum(times > 1 for times in seen.values())}


def guarantees():
    policies = tf.data.experimental.service.ShardingPolicy
    return [
        {"sharding": name, "replaced": replaced, **counted(policy, replaced)}
        for name, policy in (("dynamic", policies.DYNAMIC), ("off", policies.OFF))
        for replaced in (False, True)
    ]


def markdown(scaling, kept):
    lines = ["| workers | batches/s | times one worker |", "|---|---|---|"]
    for row in scaling:
        times = row["batches_per_second"] / scaling[0]["batches_per_second"]
        lines.append(f"| {row['workers']} | {row['batches_per_second']} | {times:.2f} |")
    lines += ["", "| sharding | killed worker | lost | twice |", "|---|---|---|---|"]
    for row in kept:
        fate = "replaced" if row["replaced"] else "not replaced"
        lines.append(f"| {row['sharding']} | {fate} | {row['lost']} | {row['twice']} |")
    return "\n".join(lines)


def main(_):
    scaling = [
        {"workers": workers, "batches_per_second": round(batches_per_second(workers), 2)}
        for workers in _WORKERS.value
    ]
    kept = guarantees()
    print(f"{machine()}; a batch sleeps {_SLEEP.value} s\n\n{markdown(scaling, kept)}")
    report = {
        "machine": machine(),
        "sleep": _SLEEP.value,
        "scaling": scaling,
        "elements": _ELEMENTS.value,
        "guarantees": kept,
    }
    write_report(_OUTPUT.value, report)


if __name__ == "__main__":
    binary.run(main)
