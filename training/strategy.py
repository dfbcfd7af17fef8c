"""Where training runs: the tf.distribute strategy, and what crosses its replicas."""

import tensorflow as tf


def make_strategy(name="auto"):
    """The strategy of a name: "one" for one device, "mirrored" for all GPUs of this host, "auto".

    "auto" is "mirrored" where there are several GPUs, else "one".

    Raises:
        ValueError: another name.
    """
    if name not in ("auto", "one", "mirrored"):
        raise ValueError(f'strategy is {name!r}; expected "auto", "one" or "mirrored".')
    if name == "auto":
        name = "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "one"
    return tf.distribute.MirroredStrategy() if name == "mirrored" else tf.distribute.get_strategy()


def replicas():
    """(this replica's number, how many there are), in a replica's code."""
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group, context.num_replicas_in_sync


def global_batch(x):
    """The rows of all replicas, in their order; gradients flow back to every one of them."""
    context = tf.distribute.get_replica_context()
    return x if context.num_replicas_in_sync == 1 else context.all_gather(x, axis=0)
