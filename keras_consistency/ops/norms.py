"""Norms over everything but the first axis: one an example."""

import tensorflow as tf


def unit_l2(value):
    """Each example scaled to L2 norm 1: float32 `(examples, ...)`, same shape. Exact zeros stay zero.

    Each example is first divided by its largest magnitude, so that gradients of 1e-30 neither vanish nor overflow when
    squared.
    """
    axes = list(range(1, value.shape.rank))
    value = tf.math.divide_no_nan(value, tf.reduce_max(tf.abs(value), axis=axes, keepdims=True))
    return tf.math.divide_no_nan(value, tf.sqrt(tf.reduce_sum(tf.square(value), axis=axes, keepdims=True)))
