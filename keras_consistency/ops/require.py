"""Conditions on values, which a compiled step can only see when it runs."""

import contextlib
import re

import tensorflow as tf

_MARK = "keras_consistency:"


def require(condition, message, *values):
    """Raises a `ValueError` where the condition does not hold; in a graph, makes an operation that does.

    In a graph the operation raises `tf.errors.InvalidArgumentError`, which `as_value_errors` turns back. XLA leaves it
    out.

    Args:
        condition: bool scalar.
        message: a sentence that names the argument, the allowed range and what to do, ending in what was received.
        *values: scalars to print after the message.

    Returns:
        The operation in a graph; else `None`. See `guarded` for what must not run before it.
    """
    if not tf.executing_eagerly():
        return tf.debugging.Assert(condition, [f"{_MARK} {message}", *values])
    if not condition:
        raise ValueError(" ".join([message, *(str(tf.convert_to_tensor(value).numpy()) for value in values)]))
    return None


def guarded(value, condition, message, *values):
    """The value, a tensor, for whatever must not run unless the condition holds; otherwise as `require`."""
    check = require(condition, message, *values)
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(value)


@contextlib.contextmanager
def as_value_errors():
    """Turns a failed `require` of a graph that runs inside into the `ValueError` that it would be outside."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        # The message may hold brackets itself; the values are what is left of the line. Quotes come escaped.
        found = re.search(rf"\[{_MARK} (.*?)\]((?: \[[^\[\]]*\])*)\s*$", error.message, re.MULTILINE)
        if not found:
            raise
        message, values = found.groups()
        message = message.replace('\\"', '"').replace("\\'", "'")
        raise ValueError(message + values.replace("[", "").replace("]", "").rstrip()) from None
