"""Means over the global batch, and running means of them."""

import tensorflow as tf

from keras_consistency.ops import replicas


def over_examples(values):
    """Mean over the examples of all replicas, and their pixels: float32 `(examples, ..., classes)` -> `(classes,)`."""
    return replicas.all_mean(tf.reduce_mean(values, axis=list(range(values.shape.rank - 1))))


def follow(variable, value, momentum):
    """Moves a running mean: `variable = momentum variable + (1 - momentum) value`; returns where it stands."""
    variable.assign(momentum * variable.value + (1.0 - momentum) * value)
    return variable.value
