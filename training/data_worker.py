r"""Runs a helper of the input pipeline: a dispatcher of tf.data service, or one of its workers.

    python -m training.data_worker --role=dispatcher --allow_remote --port=5050 --work_dir=DIR
    python -m training.data_worker --role=worker --allow_remote --dispatcher=HOST:5050 \
        --port=5051 --address=THIS_HOST:5051                                  # on every helper host
    python -m training.pretrain ... --data_service=HOST:5050

Anyone who reaches one of these ports can run graphs here, and so read and write this user's files:
TensorFlow's servers listen on all interfaces and ask for no password. They cannot be bound to one
interface. So nothing starts without --allow_remote; docs/security.md has the rules for a firewall.

Workers need the same TensorFlow as the trainer, and the images under the paths that the trainer
uses. Weights and settings come to them with the pipeline. Workers may join, leave and come back
while training runs. A dispatcher with --work_dir continues when it is started again.
"""

import os
import signal
import time

import tensorflow as tf
from absl import app, flags

from sassl_tf.errors import UserError
from training.command import binary
from training.input.data_service import check_dispatcher, check_port, parsed

DISPATCHER_SECONDS = 60
WORKER_SECONDS = 20  # without a heartbeat; then a worker counts as gone


def start_dispatcher(
    port: int, work_dir: str | None = None
) -> tf.data.experimental.service.DispatchServer:
    """Starts a dispatcher; it stops when the returned server is dropped.

    Args:
        port: 0 for any free port.
        work_dir: folder for its state; None keeps no state when it stops.

    Raises:
        ValueError: the port is out of range or in use.
    """
    check_port(port)
    service = tf.data.experimental.service
    config = service.DispatcherConfig(
        port=port,
        work_dir=work_dir,
        fault_tolerant_mode=work_dir is not None,
        worker_timeout_ms=1000 * WORKER_SECONDS,
    )
    return service.DispatchServer(config)


def start_worker(
    dispatcher: str, port: int = 0, address: str | None = None
) -> tf.data.experimental.service.WorkerServer:
    """Starts a worker; it stops when the returned server is dropped.

    Args:
        dispatcher: "HOST:PORT".
        port: 0 for any free port.
        address: "HOST:PORT" under which trainers reach it; None for localhost.

    Raises:
        ValueError: an address is not "HOST:PORT", the port is out of range or in use, or no
            dispatcher answers within `DISPATCHER_SECONDS`.
    """
    host, dispatcher_port = parsed(dispatcher)
    if address is not None:
        parsed(address)
    check_port(port)
    check_dispatcher(dispatcher, DISPATCHER_SECONDS, wait=True)
    service = tf.data.experimental.service
    config = service.WorkerConfig(
        dispatcher_address=f"{host}:{dispatcher_port}",
        worker_address=address,
        port=port,
        dispatcher_timeout_ms=1000 * DISPATCHER_SECONDS,
    )
    return service.WorkerServer(config)


def check_allowed(role: str, allow_remote: bool) -> None:
    """Raises a ValueError unless the user allows other hosts to reach the server."""
    if not allow_remote:
        raise UserError(
            f"A {role} of TensorFlow's data service listens on all interfaces and asks for no "
            "password: anyone who reaches its port can read and write this user's files. Close the "
            "port to all but your own hosts (docs/security.md has the rules), then start it with "
            "--allow_remote."
        )


def main(_: list[str]) -> None:
    values = flags.FLAGS
    if values.role == "worker" and not values.dispatcher:
        raise app.UsageError("A worker needs --dispatcher=HOST:PORT.")
    check_allowed(values.role, values.allow_remote)
    if values.role == "dispatcher":  # a server serves as long as it is held
        server = start_dispatcher(values.port, values.work_dir)
        started = f"Dispatcher at {server.target.removeprefix('grpc://')}"
    else:
        server = start_worker(values.dispatcher, values.port, values.address)
        started = f"Worker of the dispatcher at {values.dispatcher}"
    stop: list[int] = []  # a lock, as threading.Event has, can hang in a handler
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stop.append(number))
    print(started, flush=True)
    while not stop:
        time.sleep(0.2)
    print("Stopped.", flush=True)
    # At once: TensorFlow's servers wait without a limit for calls that are under way. Nothing is
    # lost, since a dispatcher's state is on the disk already and a worker has none.
    os._exit(0)


if __name__ == "__main__":
    flags.DEFINE_enum(
        "role", None, ["dispatcher", "worker"], "The kind of helper to start.", required=True
    )
    flags.DEFINE_bool(
        "allow_remote",
        False,
        "Starts the server, although anyone who reaches its port can read and write this user's "
        "files. docs/security.md tells how to close the port to others.",
    )
    flags.DEFINE_integer(
        "port", 0, "The port to listen at; 0 for any free port.", lower_bound=0, upper_bound=65535
    )
    flags.DEFINE_string("work_dir", None, "The folder for a dispatcher's state.")
    flags.DEFINE_string("dispatcher", None, "The HOST:PORT of a worker's dispatcher.")
    flags.DEFINE_string("address", None, "The HOST:PORT under which trainers reach a worker.")
    binary.run(main)
