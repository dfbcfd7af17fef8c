"""The input pipeline on helper hosts, by tf.data service; `training.data_worker` starts them.

One worker makes the whole of a batch (of a device's share of it, where there are several), from the
number of its step. So the batches are those that this host would make itself, SASSL included, and
only their order depends on the workers. The graph
of the pipeline goes to the workers with the stylizer's weights in it. The workers read image files
under the same paths as this host.
"""

import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import tensorflow as tf

from sassl_tf.errors import UserError

PATIENCE = 300.0  # seconds
CONNECT_SECONDS = 10.0
# The first request of TensorFlow's own client to a dispatcher; its message is empty.
GET_VERSION = "/tensorflow.data.DispatcherService/GetVersion"
PORTS = range(1, 2**16)


class NoBatches(UserError):
    """The data service gives no batches."""


def served(batches: tf.data.Dataset, address: str) -> tf.data.Dataset:
    """Returns the dataset `batches`, made by the workers of a data service.

    Each batch is made by one worker, whichever is free (dynamic sharding). The batches that a
    worker was making when it died are left out.

    Args:
        batches: a `tf.data.Dataset` whose source is the numbers of the batches.
        address: "HOST:PORT" of the dispatcher.

    Raises:
        ValueError: no dispatcher answers there within `CONNECT_SECONDS`.
    """
    host, port = parsed(address)
    check_dispatcher(address, CONNECT_SECONDS)
    service = tf.data.experimental.service
    remote = service.distribute(service.ShardingPolicy.DYNAMIC, f"grpc://{host}:{port}")
    return batches.apply(remote).prefetch(tf.data.AUTOTUNE)


def check_dispatcher(address: str, seconds: float, wait: bool = False) -> None:
    """Raises a ValueError unless a dispatcher answers at an address.

    TensorFlow's client would wait for minutes if something else listens there.

    Args:
        address: "HOST:PORT".
        seconds: time limit for the answer.
        wait: whether to wait, within the limit, for a dispatcher that is not there yet.
    """
    host, port = parsed(address)
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            channel.unary_unary(GET_VERSION)(b"", timeout=seconds, wait_for_ready=wait)
        except grpc.RpcError as error:
            reason = _reason(error, seconds)
        else:
            return
    raise UserError(
        f"No dispatcher of a data service answers at {address} ({reason}). Start one there: "
        f"python -m training.data_worker --role=dispatcher --allow_remote --port={port}, and "
        f"workers with --role=worker --allow_remote --dispatcher={address}."
    )


def _reason(error, seconds):
    if error.code() == grpc.StatusCode.UNIMPLEMENTED:
        return "another service listens there, perhaps a worker"
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"nothing within {seconds:g} seconds"
    return error.details()


def check_port(port: int) -> None:
    """Raises a ValueError unless a server can listen at `port`; 0 is any free port.

    TensorFlow's servers would share a port that is in use, without an error.
    """
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # a server that has ended may still hold it
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind(("", port))
    except (OSError, OverflowError) as error:
        raise UserError(
            f"Nothing can listen at the port {port} ({error}). Give a free port from {PORTS[0]} to "
            f"{PORTS[-1]}, or 0 for any."
        ) from error


def parsed(address: str) -> tuple[str, int]:
    """Returns (host, port) of "HOST:PORT", with or without "grpc://" before it.

    Raises:
        ValueError: it is something else.
    """
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) not in PORTS:
        raise UserError(
            f"The data service's address is {address!r}; expected HOST:PORT, with a port from "
            f"{PORTS[0]} to {PORTS[-1]}."
        )
    return host, int(port)


def next_within(iterator: Iterator[Any], patience: float = PATIENCE) -> Any:
    """Returns `next(iterator)`, waiting no longer than `patience` seconds.

    TensorFlow's client would wait for ever for a worker that died, or for a first worker.

    Raises:
        NoBatches: the time is over, or the service failed.
    """
    box: queue.Queue[tuple[Any, Exception | None]] = queue.Queue()

    def fetch():
        try:
            box.put((next(iterator), None))
        except Exception as error:  # raised below, in the thread that waits
            box.put((None, error))

    threading.Thread(target=fetch, daemon=True).start()
    try:
        batch, error = box.get(timeout=patience)
    except queue.Empty:
        raise NoBatches(
            f"The data service gave no batch for {patience:g} seconds. Are its workers running, "
            "and do they see the images under the same paths? The same command continues from the "
            "last checkpoint."
        ) from None
    if error is not None:
        raise NoBatches(f"The data service failed: {error}") from error
    return batch
