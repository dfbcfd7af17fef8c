"""Where training runs: the tf.distribute strategy, and what crosses its replicas."""

import tensorflow as tf


def make_strategy(name="auto"):
    """The strategy of a name. This version trains on one device: "auto" and "one" are that.

    Raises:
        ValueError: another name.
    """
    if name not in ("auto", "one"):
        raise ValueError(f'strategy is {name!r}; this version trains on one device: "auto", "one".')
    return tf.distribute.get_strategy()


def replicas():
    """(this replica's number, how many there are), in a replica's code."""
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group, context.num_replicas_in_sync


def global_batch(x):
    """The rows of all replicas, in their order; gradients flow back to every one of them."""
    context = tf.distribute.get_replica_context()
    return x if context.num_replicas_in_sync == 1 else context.all_gather(x, axis=0)
