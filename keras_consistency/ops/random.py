"""Stateless random draws, one row per example, that do not depend on how a batch is split over replicas.

A draw is made for the global batch and each replica takes its own rows: two replicas with 32 images each see the
numbers that one replica with 64 would. The generator is named (Philox), so that XLA and the plain runtime draw the same
numbers.
"""

import tensorflow as tf

from keras_consistency.ops import replicas

_ALGORITHM = "philox"


def fold(seed, value):
    """A new seed made of a seed and an integer: `(2,)` int32 or int64, scalar -> `(2,)`, for independent streams."""
    return tf.random.experimental.stateless_fold_in(seed, value, alg=_ALGORITHM)


def uniform(seed, rows, shape=(), low=0.0, high=1.0, dtype=tf.float32):
    """Uniform draws in `[low, high)`: `(rows, *shape)`. `rows` is the number of examples on this replica."""
    shape = tf.concat([[rows * replicas.count()], tf.cast(shape, tf.int32)], axis=0)
    return replicas.local_rows(
        tf.random.stateless_uniform(shape, seed, minval=low, maxval=high, dtype=dtype, alg=_ALGORITHM)
    )


def normal(seed, rows, shape=()):
    """Standard normal draws, float32: `(rows, *shape)`. `rows` is the number of examples on this replica."""
    shape = tf.concat([[rows * replicas.count()], tf.cast(shape, tf.int32)], axis=0)
    return replicas.local_rows(tf.random.stateless_normal(shape, seed, alg=_ALGORITHM))
