"""One function for every example of a batch, compiled: an example pays for what it drew and for nothing else.

TensorFlow would start an operation for every line of the function and every example. Compiled by XLA, the loop over the
examples is machine code with branches, and lines are fused. All modes (eager, `tf.function`, `tf.data`, a SavedModel)
run the same compiled program, so that they agree to the bit; inside a model that XLA compiles as a whole, the lines are
fused with others, and a float may end in another bit.
"""

import functools

import tensorflow as tf


def each(function, batch, *rows, shared=(), static=()):
    """Applies a function to each example.

    It is compiled once in a process for each shape and dtype of its arguments, by whichever layer it is called. A batch
    whose examples' shape is not known before the graph runs is worked on without compilation: the same values, at a
    tenth of the speed.

    Args:
        function: `function(example, *row, *shared, *static)` returns a tensor of the example's shape and dtype. Define
            it at module level, without state: it is the key under which the compiled program is kept.
        batch: tensor `(n, ...)`.
        *rows: structures of tensors `(n, ...)`; the function gets one row of each.
        shared: tensors, or numbers, that all examples share.
        static: hashable values that choose among programs.

    Returns:
        A tensor of the batch's shape and dtype. Gradients flow into a float batch, once, and into nothing else.
    """
    batch = tf.convert_to_tensor(batch)
    if batch.shape[0] == 0:
        return batch
    compiled = batch.shape[1:].is_fully_defined()
    arguments = (rows, tuple(tf.convert_to_tensor(value) for value in shared))
    arguments = tf.nest.map_structure(tf.stop_gradient, arguments)
    forward = (_compiled if compiled else _mapped)(_value, function, static)
    if not batch.dtype.is_floating:
        return forward(batch, *arguments)

    # XLA cannot hand what a loop remembers from one program to another: the backward one runs the function again.
    @tf.custom_gradient
    def differentiable(batch):
        def gradient(upstream):
            backward = (_compiled if compiled else _mapped)(_gradient, function, static)
            return backward(batch, *arguments, upstream)

        return forward(tf.stop_gradient(batch), *arguments), gradient

    return differentiable(batch)


@functools.cache
def _compiled(kind, function, static):
    run = _mapped(kind, function, static)
    # TensorFlow counts traces by code, and would warn of programs that do not belong together.
    run.__code__ = run.__code__.replace(co_name=f"{function.__name__}_{_compiled.cache_info().currsize}")
    # Without AutoGraph, which would read the source of every function: most of the time that tracing takes.
    return tf.function(run, jit_compile=True, autograph=False)


def _mapped(kind, function, static):
    def run(batch, rows, shared, *upstream):
        spec = tf.TensorSpec(batch.shape[1:], batch.dtype)
        return tf.map_fn(
            lambda row: kind(lambda example: function(example, *row[1], *shared, *static), row[0], *row[2:]),
            (batch, rows, *upstream),
            fn_output_signature=spec,
        )

    return run


def _value(function, example):
    return function(example)


def _gradient(function, example, upstream):
    with tf.GradientTape() as tape:
        tape.watch(example)
        output = function(example)
    return tape.gradient(output, example, upstream, unconnected_gradients="zero")
