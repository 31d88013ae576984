"""Arithmetic on whole tensors as one pass over memory, where TensorFlow would make one an operation."""

import functools

import tensorflow as tf


def fused(function):
    """Compiles a function of tensors with XLA, once in a process for each of their shapes and dtypes.

    Where the shape of an example is not known before the graph runs, the function is called as it is: compiled, it
    would be again for every new shape.

    Args:
        function: pure; takes tensors, the first of them a batch, and returns one tensor. Gradients flow through it.
    """
    compiled = tf.function(function, jit_compile=True)

    @functools.wraps(function)
    def run(batch, *others):
        return (compiled if batch.shape[1:].is_fully_defined() else function)(batch, *others)

    return run
