"""Norms over everything but the first axis: one an example."""

import tensorflow as tf

from keras_consistency.ops import random

NORMS = ("linf", "l2")

# What rounding may add to a length in float32.
_ROUNDING = 2.0**-22


def unit_l2(value):
    """Each example scaled to L2 norm 1: float32 `(examples, ...)`, same shape. Exact zeros stay zero.

    Each example is first divided by its largest magnitude, so that gradients of 1e-30 neither vanish nor overflow when
    squared.
    """
    axes = _axes(value)
    value = tf.math.divide_no_nan(value, tf.reduce_max(tf.abs(value), axis=axes, keepdims=True))
    return tf.math.divide_no_nan(value, tf.sqrt(tf.reduce_sum(tf.square(value), axis=axes, keepdims=True)))


def steepest(gradient, norm):
    """The step of norm 1 along which a loss with this gradient rises most; where the gradient is zero, zero.

    float32 `(examples, ...)`, same shape; `norm` is one of `NORMS`.
    """
    return tf.sign(gradient) if norm == "linf" else unit_l2(gradient)


def within(offset, radius, norm):
    """The nearest point of the ball around zero: float32 `(examples, ...)`, same shape.

    Lengths that are cut come out shorter than the radius by 2.4e-7 of it, and so never longer by rounding.
    """
    if norm == "linf":
        return tf.clip_by_value(offset, -radius, radius)
    length = tf.sqrt(tf.reduce_sum(tf.square(offset), axis=_axes(offset), keepdims=True))
    return offset * tf.where(length > radius, tf.math.divide_no_nan(radius * (1 - _ROUNDING), length), 1.0)


def draw_within(seed, like, radius, norm):
    """Offsets drawn evenly from the ball around zero, float32 of the shape of `like`, `(examples, ...)`."""
    rows, shape = tf.shape(like)[0], tf.shape(like)[1:]
    if norm == "linf":
        drawn = radius * (2.0 * random.uniform(seed, rows, shape) - 1.0)
    else:
        length = random.uniform(random.fold(seed, 1), rows) ** (1.0 / tf.cast(tf.reduce_prod(shape), tf.float32))
        length = tf.reshape(length, tf.concat([[rows], tf.ones_like(shape)], axis=0))
        drawn = radius * length * unit_l2(tf.ensure_shape(random.normal(seed, rows, shape), like.shape))
    return tf.ensure_shape(drawn, like.shape)


def _axes(value):
    return list(range(1, value.shape.rank))
