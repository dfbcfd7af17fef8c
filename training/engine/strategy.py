"""The tf.distribute strategy of a run, its workers, and what its replicas exchange."""

import contextlib
import functools
import json
import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from sassl_tf.errors import FileError, UserError
from sassl_tf.paths import UNREACHABLE
from training.report.logs import say

STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")
CLUSTER_EXAMPLE = json.dumps(
    {
        "cluster": {"worker": ["host0:2222", "host1:2222"]},
        "task": {"type": "worker", "index": 0},
    }
)


def make_strategy(name: str, tpu: str = "") -> tf.distribute.Strategy:
    """Returns the strategy of a name.

    For several hosts it must be called before anything else of TensorFlow runs.

    Args:
        name: "one" device; "mirrored" over all GPUs of this host, or over all logical CPUs if
            there is no GPU; "multi_worker" over the devices of all hosts in TF_CONFIG; "tpu"; or
            "auto", which is mirrored if there are several GPUs, and one otherwise.
        tpu: for "tpu", its name or address; "local" for the one of this host, "" to search for it.

    Raises:
        ValueError: the name is unknown, TF_CONFIG is missing or wrong, or no TPU is reached.
    """
    if name not in STRATEGIES:
        raise UserError(f"strategy is {name!r}; expected one of {', '.join(STRATEGIES)}.")
    if name == "multi_worker":
        return _multi_worker()
    if name == "tpu":
        return _tpu(tpu)
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if name == "one" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
    return tf.distribute.MirroredStrategy(gpus or cpus)


def _multi_worker():
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        workers, task = config["cluster"]["worker"], config["task"]
        known = task["type"] == "worker" and 0 <= task["index"] < len(workers)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise UserError(
            f"strategy is 'multi_worker', and TF_CONFIG is {text!r}; expected, on the first of two "
            f"hosts, {CLUSTER_EXAMPLE}. The list of hosts is the same everywhere; the index is the "
            "host's own."
        )
    say(f"Worker {task['index']} waits for the others of {', '.join(workers)}.")
    return tf.distribute.MultiWorkerMirroredStrategy()


def _tpu(name):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise UserError(
            f"No TPU could be reached under --tpu={name!r} ({reason}). Give its name or address, "
            "or 'local' on a TPU host, and use a TensorFlow with TPU support (tensorflow-tpu)."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def check_batch_size(
    strategy: tf.distribute.Strategy, batch_size: int, accumulate: int = 1
) -> None:
    """Raises a ValueError if a batch cannot be divided equally among the replicas and parts.

    Args:
        strategy: a `tf.distribute.Strategy`.
        batch_size: over all replicas and parts.
        accumulate: number of parts that a step's batch is taken in.
    """
    count = strategy.num_replicas_in_sync
    if batch_size % (count * accumulate):
        parts = f", in {accumulate} parts (accumulate) for each" if accumulate > 1 else ""
        raise UserError(
            f"batch_size is {batch_size}; expected a multiple of the {count} replicas{parts}."
        )


def check_batch_norm_groups(strategy: tf.distribute.Strategy, groups: int) -> None:
    """Raises a ValueError if the replicas cannot have as many groups of MoCo's batch norm each.

    Args:
        strategy: a `tf.distribute.Strategy`.
        groups: moco.batch_norm_groups, of the global batch; 1 for the replicas' own alone.
    """
    count = strategy.num_replicas_in_sync
    if groups > 1 and groups % count:
        raise UserError(
            f"moco.batch_norm_groups is {groups}; expected a multiple of the {count} replicas, "
            "each of which has its own batch normalisation."
        )


def checkpoint_options(strategy: tf.distribute.Strategy) -> tf.train.CheckpointOptions:
    """Returns a `tf.train.CheckpointOptions` that has this host write the files, also for a TPU."""
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    return tf.train.CheckpointOptions(experimental_io_device="/job:localhost" if on_tpu else None)


# Workers: the processes that train together. A TPU pod has one, which drives all its hosts.


def worker(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """Returns the number of this process among the workers, and how many workers there are."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    return resolver.task_id, len(resolver.cluster_spec().as_dict()["worker"])


@contextlib.contextmanager
def naming_lost_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Says what to do where TensorFlow's collective operations have lost a worker.

    Raises:
        FileError: an OSError; another worker ended, or cannot be reached.
    """
    try:
        yield
    except UNREACHABLE as error:
        number, workers = worker(strategy)
        if workers == 1 or "ollective" not in str(error):  # a bucket may not answer either
            raise
        raise FileError(
            f"Worker {number} of {workers} has lost another one. The output of the worker that "
            "ended first has the cause. Start all of them again; the run continues from its last "
            "checkpoint."
        ) from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process is the one that writes the run's files."""
    return worker(strategy)[0] == 0


def across_workers(strategy: tf.distribute.Strategy, value: float) -> np.ndarray:
    """Gathers a number from all workers; every worker must call it.

    Returns:
        A NumPy array with the number of each worker, in their order.
    """
    number, count = worker(strategy)
    if count == 1:
        return np.array([value])
    own = tf.one_hot(number, count, dtype=tf.float64) * tf.cast(value, tf.float64)
    # A sum, which is exact for whole numbers, as steps and signals are; a mean is not.
    total = _sum_of_all_replicas(strategy)(own).numpy()
    return total / (strategy.num_replicas_in_sync // count)


def barrier(strategy: tf.distribute.Strategy) -> None:
    """Waits until every worker has called it."""
    across_workers(strategy, 0)


@functools.cache
def _sum_of_all_replicas(strategy):
    @tf.function
    def total(own):
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(lambda: own), axis=None)

    return total


# Replicas: the devices among which a batch is divided.


def several_replicas() -> bool:
    """Returns whether the current strategy has more than one replica."""
    return tf.distribute.get_strategy().num_replicas_in_sync > 1


def replicas() -> tuple[int | tf.Tensor, int]:
    """Returns the number of this replica and how many there are; for code that a replica runs."""
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group, context.num_replicas_in_sync


def global_batch(x: tf.Tensor) -> tf.Tensor:
    """Returns the rows of all replicas, in their order; gradients flow back to each of them.

    It is a sum in which each replica has its own place, as in google-research/simclr,
    tf2/objective.py. Unlike a gather, a sum runs under every strategy and keeps the shape static.

    Args:
        x: this replica's rows, [n, ...].
    """
    replica, count = replicas()
    if count == 1:
        return x
    shape = tf.concat([[count], tf.shape(x)], axis=0)
    places = tf.scatter_nd([[replica]], x[None], shape)  # count x n x ...
    context = tf.distribute.get_replica_context()
    rows = context.all_reduce(tf.distribute.ReduceOp.SUM, places)
    n = -1 if x.shape[0] is None else count * x.shape[0]
    return tf.reshape(rows, [n, *x.shape[1:]])


def mean_over_replicas(x: tf.Tensor) -> tf.Tensor:
    """Returns the mean of a tensor over all replicas; for code that a replica runs."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, x)
