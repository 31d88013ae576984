"""What a step on one replica must know of the others under `tf.distribute`.

Every function is the identity (or zero, or one) outside a strategy's replica context, so that the rest of the library
calls them unconditionally. Batches are split evenly and in order: replica `r` of `R` holds rows `r * n` to `(r + 1) *
n` of the global batch, which is what `Model.fit` feeds.
"""

import tensorflow as tf


def count():
    """Number of replicas that run this step together, a Python `int`."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def position():
    """Position of this replica among them: an `int32` scalar, or the Python integer 0 where there is only one."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 0
    return tf.convert_to_tensor(context.replica_id_in_sync_group, tf.int32)


def all_sum(value):
    """Sum over the replicas of a tensor, or a list of tensors, of numbers; same shape on each replica."""
    if count() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


def all_mean(value):
    """Mean over the replicas of a tensor, or a list of tensors, of numbers; same shape on each replica."""
    total = all_sum(value)
    return [each / count() for each in total] if isinstance(total, list) else total / count()


def all_gather(value):
    """The global batch: `(n, ...)` on each replica -> `(replicas * n, ...)`, in replica order, on every replica."""
    if count() == 1:
        return value
    return tf.distribute.get_replica_context().all_gather(value, axis=0)


def local_rows(value):
    """This replica's rows of a global tensor: `(replicas * n, ...)` -> `(n, ...)`. The inverse of `all_gather`."""
    if count() == 1:
        return value
    rows = tf.shape(value)[0] // count()
    return value[position() * rows : (position() + 1) * rows]
