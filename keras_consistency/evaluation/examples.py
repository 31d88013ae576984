"""The labelled examples that a model is judged on, a batch at a time."""

import typing

import numpy as np
import tensorflow as tf

from keras_consistency.parts import check_count


class Examples(typing.NamedTuple):
    """Labelled examples.

    Attributes:
        batches: function without arguments that starts a new pass over NumPy pairs `(x, y)`; inputs of bytes or of
            floating-point numbers are float32 there.
        count: number of batches, `None` where nobody knows.
        spec: `tf.TensorSpec` of a batch of inputs, `(None, ...)`.
    """

    batches: typing.Callable
    count: int | None
    spec: tf.TensorSpec


def read(data, batch_size):
    """The examples of what the user gave.

    Args:
        data: arrays `(x, y)`, or a `tf.data.Dataset` of batches of such.
        batch_size: of arrays.

    Raises:
        TypeError: for anything else.
        ValueError: for no examples, no labels, arrays of different lengths, or a data set without batches or end.
    """
    check_count("batch_size", batch_size)
    return _dataset(data) if isinstance(data, tf.data.Dataset) else _arrays(data, batch_size)


def _arrays(data, batch_size):
    if not isinstance(data, (tuple, list)) or any(part is None or isinstance(part, dict) for part in data):
        parts = f" of {[type(part).__name__ for part in data]}" if isinstance(data, (tuple, list)) else ""
        raise TypeError(
            "`data` must be a tuple `(x, y)` of two arrays, or a `tf.data.Dataset` of such batches. Received: data of "
            f"type {type(data).__name__}{parts}"
        )
    if len(data) != 2:
        raise ValueError(
            "`data` must have two parts, inputs and labels `(x, y)`, as a model is judged by its errors. Received: a "
            f"{type(data).__name__} of {len(data)}"
        )
    try:
        x, y = (np.asarray(part) for part in data)
    except ValueError as error:
        raise ValueError(
            "`data` must hold arrays, with rows of one shape in each; give examples of different shapes as a "
            f"`tf.data.Dataset` of padded batches. Received: what is no array ({error})"
        ) from error
    if x.ndim < 1 or y.ndim < 1 or len(x) != len(y) or not len(x):
        raise ValueError(
            "`data` must hold inputs and labels of one length, at least one of each. Received: arrays of shapes "
            f"{x.shape} and {y.shape}"
        )
    starts = range(0, len(x), batch_size)

    def parts():
        return ((x[start : start + batch_size], y[start : start + batch_size]) for start in starts)

    # An array of objects is text.
    dtype = tf.string if x.dtype.kind in "OSU" else tf.as_dtype(x.dtype)
    return _examples(parts, len(starts), x.shape[1:], dtype)


def _dataset(dataset):
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2 or not all(isinstance(part, tf.TensorSpec) for part in spec):
        raise ValueError(
            "`data` must be a data set of batches `(x, y)`, inputs and labels, one dense tensor each. Received: "
            f"element_spec={spec}"
        )
    if not spec[0].shape.rank or not spec[1].shape.rank:
        raise ValueError(
            "`data` must be a data set of batches, of known rank: call `.batch(128)` on single examples. Received: "
            f"element_spec={spec}"
        )
    count = int(dataset.cardinality())
    if count == tf.data.INFINITE_CARDINALITY:
        raise ValueError("`data` must have an end: leave out its `.repeat()`. Received: a data set without end")
    if count == 0:
        raise ValueError("`data` must hold at least one batch. Received: an empty data set")
    return _examples(dataset.as_numpy_iterator, None if count < 0 else count, spec[0].shape[1:], spec[0].dtype)


def _examples(parts, count, shape, dtype):
    if not (dtype.is_floating or dtype == tf.uint8):
        return Examples(parts, count, tf.TensorSpec([None, *shape], dtype))
    spec = tf.TensorSpec([None, *shape], tf.float32)
    return Examples(lambda: ((x.astype("float32"), y) for x, y in parts()), count, spec)


def class_numbers(y, classes):
    """The labels of a batch as int64 `(examples,)`.

    Args:
        y: class numbers `(examples,)` or `(examples, 1)`, or class probabilities `(examples, classes)`.
        classes: number of classes of the model.

    Raises:
        ValueError: for other shapes, and for numbers that are no classes.
    """
    if y.ndim == 2 and y.shape[1] == classes:
        return np.argmax(y, axis=1)
    numbers = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        raise ValueError(
            f"`data` must hold as labels class numbers (examples,) or probabilities (examples, {classes}). Received: "
            f"labels of shape {y.shape} and dtype {y.dtype}"
        )
    if not np.all((numbers >= 0) & (numbers < classes) & (numbers == np.floor(numbers))):
        raise ValueError(
            f"`data` must hold as labels whole class numbers from 0 to {classes - 1}, as the model has {classes} "
            f"outputs. Received: labels from {numbers.min()} to {numbers.max()}"
        )
    return numbers.astype("int64")
