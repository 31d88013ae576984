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
_ERFINV = (  # highest power first: in the middle, and in the tails
    (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164)
    + (0.246640727, 1.50140941),
    (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047)
    + (1.00167406, 2.83297682),
)


def fold(seed, value):
    """A new seed made of a seed and an integer: `(2,)` int32 or int64, scalar -> `(2,)`, for independent streams."""
    return tf.random.experimental.stateless_fold_in(seed, value, alg=_ALGORITHM)


def fresh():
    """A seed that nobody chose, int32 `(2,)`, from TensorFlow's own generator: another one at each call."""
    return tf.random.uniform([2], maxval=2**31 - 1, dtype=tf.int32)


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


def shared_beta(seed, shape, alpha):
    """Draws of `Beta(alpha, alpha)` in `[0, 1]`, float32 of the shape, the same on every replica.

    `(1 + t / sqrt(2 alpha + t^2)) / 2` of a Student's `t` with `2 alpha` degrees of freedom, in its polar form (Bailey,
    "Polar Generation of Random Variates with the t-Distribution", Mathematics of Computation 62, 1994), which needs no
    rejection, and neither underflows nor overflows where alpha is small or large.
    """
    radius = tf.math.log(1.0 - shared_uniform(fold(seed, 0), shape)) / alpha
    direction = tf.cos(2.0 * math.pi * shared_uniform(fold(seed, 1), shape))
    above = -tf.math.expm1(radius) * direction**2
    return 0.5 + 0.5 * tf.sign(direction) * tf.sqrt(above / (above + tf.exp(radius)))


def dirichlet(seed, rows, size, alpha):
    """Draws of the symmetric Dirichlet distribution of `size` shares, float32 `(rows, size)`; a row sums to 1.

    `rows` is the number of examples on this replica, `alpha` lies in (0, inf). Shares of Gamma(alpha) variables
    (Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables", 2000,
    https://doi.org/10.1145/358407.358414), in logarithms, which do not underflow where alpha is small. Each is the
    first of eight candidates that the method accepts; that none is has a probability below 1e-10.
    """
    d = (alpha if alpha >= 1 else alpha + 1) - 1 / 3
    candidates = normal(fold(seed, 0), rows, (size, 8))
    cubes = (1.0 + candidates / math.sqrt(9 * d)) ** 3
    logs = tf.math.log(tf.where(cubes > 0.0, cubes, 1.0))
    bound = 0.5 * candidates**2 + d * (1.0 - cubes + logs)
    accepted = (cubes > 0.0) & (tf.math.log(1.0 - uniform(fold(seed, 1), rows, (size, 8))) < bound)
    gammas = tf.gather(logs, tf.argmax(accepted, axis=-1), batch_dims=2)
    if alpha < 1:
        gammas += tf.math.log(1.0 - uniform(fold(seed, 2), rows, (size,))) / alpha
    return tf.nn.softmax(gammas)


def row_seeds(seed, rows):
    """A seed for each example, int64 `(rows,)`, for draws whose number differs from example to example.

    `rows` is the number of examples on this replica.
    """
    shape = [rows * replicas.count()]
    seeds = tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.int64, alg=_ALGORITHM)
    return replicas.local_rows(seeds)


def row_uniform(row_seed, shape):
    """Uniform draws in `[0, 1)` for one example, float32 of the shape, from its seed (see `row_seeds`).

    For functions of one example (see `ops.each`): there Philox would take ten times as long.
    """
    shape = tf.convert_to_tensor(shape)
    counters = _first_counters(row_seed, 0) + tf.range(tf.cast(tf.reduce_prod(shape), tf.int64))
    return tf.reshape(_hashed(counters), shape)


def row_normal(row_seed, shape):
    """Standard normal draws for one example, float32 of the shape, from its seed, within 5.5. As `row_uniform`.

    The quantiles of uniform draws, within 4e-7 of them, by Giles, "Approximating the erfinv Function", GPU Computing
    Gems Jade Edition, 2011 (single precision).
    """
    # The middle of each step of the draws, and so neither -1 nor 1.
    x = 2.0 * row_uniform(row_seed, shape) - (1.0 - 1.0 / _STEPS)
    w = -tf.math.log((1.0 - x) * (1.0 + x))
    central, tail = (
        tf.math.polyval(list(powers), at) for powers, at in zip(_ERFINV, (w - 2.5, tf.sqrt(w) - 3.0), strict=True)
    )
    return math.sqrt(2.0) * x * tf.where(w < 5.0, central, tail)


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
        return _hashed(_counters(starts, row_splits))
    return _hashed(tf.gather(starts - row_splits[:-1], row_of(row_splits, elements)) + elements)


def ragged_choice(row_seeds, row_splits, probability, draw=0):
    """Chooses elements of a ragged tensor: those for which `ragged_uniform` draws a number below the probability.

    Args:
        row_seeds, row_splits, draw: as for `ragged_uniform`.
        probability: a number in `[0, 1]`.

    Returns:
        The numbers of the chosen among the flat values, int64 `(chosen,)`; and what is left of their draws, as a
        further draw of each in `[0, 1)`, float64 `(chosen,)`.
    """
    bits = _bits(_counters(_first_counters(row_seeds, draw), row_splits))
    # One of 2 ** 64 draws is not below the limit of a probability of 1.
    limit = min(math.ceil(probability * _STEPS) << 40, 2**64 - 1)
    chosen = tf.reshape(tf.where(bits < _uint64(limit)), [-1])
    rest = tf.bitwise.right_shift(tf.gather(bits, chosen), _uint64(11))  # as many bits as float64 has
    return chosen, tf.cast(rest, tf.float64) / float(limit >> 11)


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


def _counters(starts, row_splits):
    """The counters of all elements of a ragged tensor: int64 `(rows,)` and `(rows + 1,)` -> `(elements,)`."""
    return tf.ragged.range(starts, starts + row_splits[1:] - row_splits[:-1]).flat_values


def _hashed(counters):
    """Uniform draws made of counters: int64 -> float32 in `[0, 1)`."""
    return tf.cast(tf.bitwise.right_shift(_bits(counters), _uint64(40)), tf.float32) / _STEPS


def _bits(counters):
    """SplitMix64 of counters: int64 -> uint64.

    Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014,
    https://doi.org/10.1145/2660193.2660195.
    """
    return _mixed(tf.bitcast(counters, tf.uint64) * _uint64(_GOLDEN))


def _mixed(bits):
    """The finalizer of SplitMix64 but for its last shift, which reaches the lower half only: uint64 -> uint64."""
    bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, _uint64(30))) * _uint64(0xBF58476D1CE4E5B9)
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, _uint64(27))) * _uint64(0x94D049BB133111EB)


def _uint64(value):
    return tf.constant(value, tf.uint64)
