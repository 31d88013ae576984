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
_GOLDEN = 0x9E3779B97F4A7C15


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


def row_seeds(seed, rows):
    """A seed for each example, int64 `(rows,)`, for draws whose number differs from example to example.

    `rows` is the number of examples on this replica.
    """
    shape = [rows * replicas.count()]
    seeds = tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.int64, alg=_ALGORITHM)
    return replicas.local_rows(seeds)


def ragged_uniform(row_seeds, row_splits, draw=0, elements=None):
    """Uniform draws in `[0, 1)` for the elements of a ragged tensor, or for some of them.

    What an element draws is a function of its row's seed, its position in the row, and `draw`, whatever else the tensor
    holds and whichever elements are asked for.

    Args:
        row_seeds: int64 `(rows,)`, as `row_seeds` makes them.
        row_splits: int64 `(rows + 1,)`.
        draw: an integer of at least 0; another one for each further draw of the same elements.
        elements: int64 `(some,)`, which of the flat values; `None` for all.

    Returns:
        float32 `(elements,)`.
    """
    starts = _first_counters(row_seeds, draw)
    if elements is None:
        return _hashed(tf.ragged.range(starts, starts + row_splits[1:] - row_splits[:-1]).flat_values)
    rows = row_of(row_splits, elements)
    return _hashed(tf.gather(starts - row_splits[:-1], rows) + elements)


def ragged_shuffle(row_seeds, row_splits, draw, elements):
    """A random order of some elements of a ragged tensor, each among those of its row.

    Args:
        row_seeds, row_splits, draw: as for `ragged_uniform`.
        elements: int64 `(some,)`, in order.

    Returns:
        int64 `(some,)`: the elements, those of a row in an order in which each is as likely as any other.
    """
    rows = row_of(row_splits, elements)
    # Whole numbers keep the rows apart.
    keys = tf.cast(rows, tf.float64) + tf.cast(ragged_uniform(row_seeds, row_splits, draw, elements), tf.float64)
    return tf.gather(elements, tf.argsort(keys, stable=True))


def row_of(row_splits, elements):
    """The row of each of some elements of a ragged tensor, which are int64 `(some,)`; of the same shape."""
    return tf.searchsorted(row_splits, elements, side="right", out_type=tf.int64) - 1


def _first_counters(row_seeds, draw):
    """Where each row starts to count: far from any other row and draw, int64 `(rows,)` in `[0, 2 ** 62)`."""
    seeds = tf.bitcast(row_seeds, tf.uint64)
    starts = _mixed(seeds + tf.constant((draw + 1) * _GOLDEN % 2**64, tf.uint64))
    return tf.bitcast(tf.bitwise.right_shift(starts, _uint64(2)), tf.int64)


def _hashed(counters):
    """SplitMix64 of counters, as a uniform draw: int64 -> float32 in `[0, 1)`."""
    bits = _mixed(tf.bitcast(counters, tf.uint64) * _uint64(_GOLDEN))
    return tf.cast(tf.bitwise.right_shift(bits, _uint64(40)), tf.float32) / _STEPS


def _mixed(bits):
    """The finalizer of SplitMix64 but for its last shift, which reaches the lower half only: uint64 -> uint64."""
    bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, _uint64(30))) * _uint64(0xBF58476D1CE4E5B9)
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, _uint64(27))) * _uint64(0x94D049BB133111EB)


def _uint64(value):
    return tf.constant(value, tf.uint64)
