"""The input pipeline on helper hosts, by tf.data service; `training.data_worker` starts them.

Every batch is made whole by one worker, from the number of its step: so the batches are those that
this host would have made itself, SASSL included, and only their order depends on the workers. The
graph of the pipeline goes to the workers with the stylizer's weights in it; images in files are
read by the workers, under the same paths.
"""

import queue
import socket
import threading

import tensorflow as tf

PATIENCE = 300.0  # seconds
CONNECT_SECONDS = 10.0


class NoBatches(RuntimeError):
    """The data service gives nothing."""


def served(batches, address):
    """The dataset `batches`, made by the workers of a data service.

    Which worker makes which batch is decided as they go (dynamic sharding): each batch is made by
    one of them. What a worker had in hand when it died is left out.

    Args:
        batches: a `tf.data.Dataset` whose source is the numbers of the batches.
        address: "HOST:PORT" of the dispatcher.

    Raises:
        ValueError: nobody answers there.
    """
    host, port = parsed(address)
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as error:
        raise ValueError(
            f"No dispatcher of a data service answers at {address} ({error}). Start one there: "
            f"python -m training.data_worker --role=dispatcher --port={port}, and workers with "
            f"--role=worker --dispatcher={address}."
        ) from error
    service = tf.data.experimental.service
    remote = service.distribute(service.ShardingPolicy.DYNAMIC, f"grpc://{host}:{port}")
    return batches.apply(remote).prefetch(tf.data.AUTOTUNE)


def parsed(address):
    """(host, port) of "HOST:PORT", with or without "grpc://" before it.

    Raises:
        ValueError: it is something else.
    """
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"The data service's address is {address!r}; expected HOST:PORT.")
    return host, int(port)


def next_within(iterator, patience=PATIENCE):
    """`next(iterator)`, waiting no longer than `patience` seconds.

    TensorFlow's client waits for ever, for a worker that died or for a first one to come.

    Raises:
        NoBatches: the time is over, or the service broke off.
    """
    box = queue.Queue()

    def fetch():
        try:
            box.put((next(iterator), None))
        except Exception as error:  # given to whoever waits
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
        raise NoBatches(f"The data service broke off: {error}") from error
    return batch
