"""Where training runs: the tf.distribute strategy, and what crosses its replicas."""

import tensorflow as tf


def make_strategy(name, batch_size):
    """The strategy of a name.

    Args:
        name: "one" device; "mirrored", over all GPUs, or all logical CPUs where there is none; or
            "auto": mirrored where there are several GPUs, else one.
        batch_size: over all replicas.

    Raises:
        ValueError: another name, or a batch that does not part into as many as there are replicas.
    """
    if name not in ("auto", "one", "mirrored"):
        raise ValueError(f'strategy is {name!r}; expected "auto", "one" or "mirrored".')
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if name == "one" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
    strategy = tf.distribute.MirroredStrategy(gpus or cpus)
    count = strategy.num_replicas_in_sync
    if batch_size % count:
        raise ValueError(
            f"batch_size is {batch_size}; expected a multiple of the {count} replicas."
        )
    return strategy


def several_replicas():
    """Whether the strategy in whose scope this is called has more than one replica."""
    return tf.distribute.get_strategy().num_replicas_in_sync > 1


def replicas():
    """(this replica's number, how many there are), in a replica's code."""
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group, context.num_replicas_in_sync


def global_batch(x):
    """The rows of all replicas, in their order; gradients flow back to every one of them."""
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync
    if count == 1:
        return x
    rows = context.all_gather(x, axis=0)
    # The gather forgets how many rows there are.
    return rows if x.shape[0] is None else tf.ensure_shape(rows, (count * x.shape[0], *x.shape[1:]))
