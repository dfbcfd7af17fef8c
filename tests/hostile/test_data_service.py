"""The data service: who may reach it, ports that cannot be, and others on the dispatcher's port."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from tests import commands
from training.data_worker import check_allowed, start_dispatcher, start_worker
from training.input.data_service import check_dispatcher, check_port, parsed, served

LIMIT = 3  # seconds


@contextlib.contextmanager
def no_longer_than(seconds):
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@pytest.fixture
def mute():
    """The port of a listener that takes connections and says nothing."""
    with socket.create_server(("localhost", 0)) as listener:
        yield listener.getsockname()[1]


def start(*flags):
    return commands.run("training.data_worker", *flags)


def port_of(dispatcher):
    return int(dispatcher.target.rpartition(":")[2])


def test_nothing_listens_unless_told_that_others_may_reach_it():
    done = start("--role=dispatcher")
    assert done.returncode == 1 and "Dispatcher at" not in done.stdout
    assert "listens on all interfaces" in done.stderr and "--allow_remote" in done.stderr
    with pytest.raises(ValueError, match=r"A worker of .* listens on all interfaces"):
        check_allowed("worker", allow_remote=False)


@pytest.mark.slow
def test_a_port_out_of_range_is_an_error_of_the_flag():
    done = start("--role=dispatcher", "--allow_remote", "--port=65536")
    assert done.returncode == 1 and "65535" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("address", ["host:0", "host:65536", "host:-1", "host:٣", "host:1e3"])
def test_addresses_with_ports_that_are_none(address):
    with pytest.raises(ValueError, match="with a port from 1 to 65535"):
        parsed(address)
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        start_worker("localhost:5050", address=address)


@pytest.mark.parametrize("port", [-1, 65536, 2**40])
def test_ports_where_nothing_can_listen(port):
    with pytest.raises(ValueError, match=f"listen at the port {port} .* from 1 to 65535"):
        start_dispatcher(port)


def test_ports_in_use(mute):
    dispatcher = start_dispatcher(0)
    # TensorFlow itself would share the dispatcher's port.
    for port in (mute, port_of(dispatcher)):
        with pytest.raises(ValueError, match=f"listen at the port {port} .*in use"):
            start_dispatcher(port)
        with pytest.raises(ValueError, match=f"listen at the port {port} .*in use"):
            start_worker(dispatcher.target, port=port)
    port = port_of(dispatcher)
    check_dispatcher(f"localhost:{port}", LIMIT)  # leaves a connection behind
    del dispatcher
    check_port(port)
    assert port_of(start_dispatcher(port)) == port


def test_another_listener_on_the_dispatchers_port(mute, monkeypatch):
    monkeypatch.setattr("training.input.data_service.CONNECT_SECONDS", LIMIT)
    batches = tf.data.Dataset.range(3)
    with no_longer_than(LIMIT + 30), pytest.raises(ValueError, match="nothing within 3 seconds"):
        served(batches, f"localhost:{mute}")
    monkeypatch.setattr("training.data_worker.DISPATCHER_SECONDS", LIMIT)
    with no_longer_than(LIMIT + 30), pytest.raises(ValueError, match="nothing within 3 seconds"):
        start_worker(f"localhost:{mute}")


def test_a_worker_and_a_web_server_are_no_dispatchers():
    dispatcher = start_dispatcher(0)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    worker = start_worker(dispatcher.target, port=port)
    with pytest.raises(ValueError, match="another service listens there, perhaps a worker"):
        check_dispatcher(f"localhost:{port}", LIMIT)
    del worker
    command = [sys.executable, "-u", "-m", "http.server", "0"]
    web = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    try:
        port = web.stdout.readline().split("port ")[1].split()[0]
        with no_longer_than(30), pytest.raises(ValueError, match="No dispatcher"):
            check_dispatcher(f"localhost:{port}", 120)
    finally:
        web.kill()
        web.wait()


@pytest.mark.slow  # to the client it is as a listener that says nothing
def test_a_dispatcher_that_has_stopped_answering():
    command = [sys.executable, "-m", "training.data_worker", "--role=dispatcher", "--allow_remote"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().split()[-1]
        check_dispatcher(address, LIMIT)
        os.kill(process.pid, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        with (
            no_longer_than(LIMIT + 30),
            pytest.raises(ValueError, match="nothing within 3 seconds"),
        ):
            check_dispatcher(address, LIMIT)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_worker_waits_for_a_dispatcher_to_come(monkeypatch):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "training.data_worker", "--role=dispatcher", "--allow_remote"]
    process = subprocess.Popen([*command, f"--port={port}"], stdout=subprocess.PIPE)
    try:
        assert start_worker(f"localhost:{port}")
    finally:
        process.kill()
        process.wait()


def test_a_process_that_got_no_batch_ends():
    program = (
        "import tensorflow as tf\n"
        "from training.input.data_service import next_within, served\n"
        "from training.data_worker import start_dispatcher\n"
        "dispatcher = start_dispatcher(0)\n"
        "batches = served(tf.data.Dataset.range(3), dispatcher.target)\n"
        "next_within(iter(batches), patience=1)\n"
    )
    done = commands.run_program(program)
    assert done.returncode == 1 and "no batch for 1 seconds" in done.stderr
