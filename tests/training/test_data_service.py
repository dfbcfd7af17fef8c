"""The input pipeline on helpers: real processes that give the batches of the local pipeline."""

import os
import pathlib
import signal
import socket
import time

import numpy as np
import pytest
import tensorflow as tf

from sassl_tf import SASSLAugmentation
from sassl_tf.datasets.shapes import shapes
from tests import commands
from tests.conftest import SMOKE
from tests.stylizers.tiny import tiny_bank, tiny_stylizer
from training.configs.simclr import get_config
from training.data_worker import start_dispatcher
from training.input.data_service import NoBatches, next_within, parsed, served
from training.input.pipeline import view_batches

ROOT = pathlib.Path(__file__).parents[2]


def free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


class Service:
    """A dispatcher and workers, as processes of their own."""

    def __init__(self, work_dir):
        self.port, self.work_dir, self.processes = free_port(), work_dir, []
        self.address = f"localhost:{self.port}"

    def start(self, *flags):
        process = commands.start("training.data_worker", "--allow_remote", *flags)
        self.processes.append(process)
        return process

    def dispatcher(self):
        flags = (f"--port={self.port}", f"--work_dir={self.work_dir}")
        started = self.start("--role=dispatcher", *flags)
        assert any("Dispatcher at" in line for line in started.stdout)
        return started

    def worker(self, port=0):
        started = self.start("--role=worker", f"--dispatcher={self.address}", f"--port={port}")
        assert any("Worker of" in line for line in started.stdout)
        return started

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A dispatcher and two workers; `dispatcher_process` and `first` may be killed."""
    made = Service(tmp_path_factory.mktemp("service") / "dispatcher")
    made.dispatcher_process, made.first_port = made.dispatcher(), free_port()
    made.first, made.second = made.worker(made.first_port), made.worker()
    yield made
    made.stop()


def make_config():
    config = get_config("smoke")
    config.image_size, config.batch_size = 16, 8
    config.epochs, config.sassl.blending_factor_end = 40.0, (0.4, 1.0)  # it moves on all the time
    return config


@pytest.fixture(scope="module")
def pipeline():
    dataset = shapes("train", count=48, size=24)
    augment = SASSLAugmentation(tiny_stylizer(), tiny_bank(), value_range=(0, 1))
    return view_batches(dataset, make_config(), augment)


@pytest.fixture(scope="module")
def local(pipeline):
    """{indices of the images: batch} of the first steps, six an epoch."""
    return {tuple(b["index"]): b for b in pipeline.take(400).as_numpy_iterator()}


def assert_of_the_local_pipeline(batches, local):
    """Each is one that the local pipeline makes, to the bit, and none comes twice."""
    keys = [tuple(batch["index"].numpy()) for batch in batches]
    assert len(set(keys)) == len(keys)
    for key, batch in zip(keys, batches, strict=True):
        for side in ("left", "right"):
            np.testing.assert_array_equal(batch[side], local[key][side])
    return keys


def test_workers_make_the_batches_of_the_local_pipeline(service, pipeline, local):
    """Then one of them dies, another comes in its place, and the dispatcher starts again."""
    batches = iter(served(pipeline, service.address))
    missing, found = set([*local][:12]), []
    # Out of order by what is under way: the one that compiles last may have some of the first.
    while missing and len(found) < 250:
        found.append(next_within(batches, 120))
        missing.discard(tuple(found[-1]["index"].numpy()))
    assert not missing
    service.first.kill()
    service.first.wait()
    service.worker(service.first_port)  # in its place
    found += [next_within(batches, 120) for _ in range(8)]
    service.dispatcher_process.kill()
    service.dispatcher_process.wait()
    service.dispatcher()
    service.worker()  # one more joins
    found += [next_within(batches, 120) for _ in range(12)]
    assert_of_the_local_pipeline(found, local)


def test_no_worker_and_no_dispatcher_are_errors(pipeline):
    with pytest.raises(ValueError, match=r"No dispatcher .* --role=dispatcher"):
        served(pipeline, f"localhost:{free_port()}")
    dispatcher = start_dispatcher(0)
    started = time.monotonic()
    with pytest.raises(NoBatches, match="no batch for 3 seconds"):
        next_within(iter(served(pipeline, dispatcher.target)), patience=3)
    assert time.monotonic() - started < 30
    for address in ("localhost", "localhost:http", ":5050"):
        with pytest.raises(ValueError, match="expected HOST:PORT"):
            parsed(address)
    assert parsed("grpc://a.b:1") == parsed("a.b:1") == ("a.b", 1)


def test_errors_of_the_iterator_come_through():
    def failing():
        yield 1
        raise tf.errors.UnavailableError(None, None, "gone")

    batches = failing()
    assert next_within(batches) == 1
    with pytest.raises(NoBatches, match="failed: gone"):
        next_within(batches)


def test_a_run_by_helpers(service, small_run, tmp_path):
    """Pretraining with its views made elsewhere, and SIGTERM to a helper."""
    _, flags = small_run
    own = [f"--workdir={tmp_path / 'run'}", f"--data_service={service.address}"]
    own.append("--config.epochs=2")  # the last of two flags counts
    done = commands.run("training.pretrain", SMOKE, *flags, *own)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "encoder.keras").is_file()
    os.kill(service.second.pid, signal.SIGTERM)
    assert service.second.wait(timeout=30) == 0
    assert "Stopped." in service.second.stdout.read()


def endless(index):
    """Returns a number after more work than a test waits for."""

    def once_more(turn, square):
        return turn + 1, tf.tanh(square @ square)

    square = tf.random.stateless_normal((1000, 1000), [0, index])
    return tf.while_loop(lambda turn, _: turn < 10_000, once_more, [0, square])[1][0, 0]


@pytest.mark.slow
def test_a_worker_stops_while_it_computes(tmp_path):
    """TensorFlow's server would wait for the element that is under way."""
    made = Service(tmp_path / "dispatcher")
    try:
        made.dispatcher()
        worker = made.worker()
        batches = iter(served(tf.data.Dataset.range(8).map(endless), made.address))
        with pytest.raises(NoBatches, match="no batch for 10 seconds"):
            next_within(batches, patience=10)
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait(timeout=10) == 0
    finally:
        made.stop()
