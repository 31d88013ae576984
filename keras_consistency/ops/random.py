"""Stateless random draws, one row per example, that do not depend on how a batch is split over replicas.

A draw is made for the global batch and each replica takes its own rows: two replicas with 32 images each see the
numbers that one replica with 64 would. The generator is named (Philox), and only integers are drawn from it: XLA and
the plain runtime turn them into floats differently.
"""

import math

import tensorflow as tf

from keras_consistency.ops import replicas

_ALGORITHM = "philox"
_STEPS = 2**24  # as many as float32 tells apart in [0, 1)


def fold(seed, value):
    """A new seed made of a seed and an integer: `(2,)` int32 or int64, scalar -> `(2,)`, for independent streams."""
    return tf.random.experimental.stateless_fold_in(seed, value, alg=_ALGORITHM)


def shared_uniform(seed, shape):
    """Uniform draws in `[0, 1)`, float32 of the shape, the same on every replica."""
    integers = tf.random.stateless_uniform(shape, seed, maxval=_STEPS, dtype=tf.int32, alg=_ALGORITHM)
    return tf.cast(integers, tf.float32) / _STEPS


def uniform(seed, rows, shape=()):
    """Uniform draws in `[0, 1)`, float32 `(rows, *shape)`. `rows` is the number of examples on this replica."""
    shape = tf.concat([[rows * replicas.count()], tf.cast(shape, tf.int32)], axis=0)
    return replicas.local_rows(shared_uniform(seed, shape))


def normal(seed, rows, shape=()):
    """Standard normal draws, float32 `(rows, *shape)`, within 5.8. `rows` is the number of examples on this replica."""
    radius = tf.sqrt(-2.0 * tf.math.log(1.0 - uniform(fold(seed, 0), rows, shape)))
    return radius * tf.cos(2.0 * math.pi * uniform(fold(seed, 1), rows, shape))
