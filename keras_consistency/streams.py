"""Examples to draw from, read from arrays or from tf.data, and checked."""

import typing

import numpy as np
import tensorflow as tf

_BUFFER = 10_000


class Stream(typing.NamedTuple):
    """Examples to draw from: `source` is shuffled and batched, `read` turns its batches into `(index, examples)`.

    Arrays are `whole` in memory: their source holds positions, which are cheap to shuffle, and `read` gathers the rows.
    `spec` is that of one example, `length` the cardinality in the numbers of tf.data.
    """

    source: tf.data.Dataset
    read: typing.Callable
    spec: typing.Any
    length: int
    whole: bool


def from_labeled(labeled):
    """The stream of `labeled` as `pair` takes it: arrays `(x, y[, sample_weight])` or a `tf.data.Dataset` of such."""
    if isinstance(labeled, tf.data.Dataset):
        parts = labeled.element_spec
        if not isinstance(parts, tuple) or len(parts) not in (2, 3):
            raise ValueError(
                "`labeled` must hold examples `(x, y)` or `(x, y, sample_weight)`. "
                f"Received: element_spec={parts}. Inputs without labels belong in `unlabeled`."
            )
    elif not isinstance(labeled, (tuple, list)):
        raise TypeError(
            "`labeled` must be a tuple `(x, y)` or `(x, y, sample_weight)` of arrays, or a `tf.data.Dataset` of such. "
            f"Received: labeled of type {type(labeled).__name__}"
        )
    elif len(labeled) not in (2, 3):
        raise ValueError(
            "`labeled` must have two parts, `(x, y)`, or three, `(x, y, sample_weight)`. "
            f"Received: a {type(labeled).__name__} of {len(labeled)}"
        )
    else:
        labeled = tuple(labeled)
    return from_inputs("labeled", labeled)


def from_inputs(name, data):
    """The stream of arrays, or of a `tf.data.Dataset` of single examples; `name` is what errors call it."""
    return _dataset_stream(name, data) if isinstance(data, tf.data.Dataset) else _array_stream(name, data)


def _array_stream(name, data):
    tensors = _map_named(_to_tensor, name, data)
    lengths = {}
    _map_named(lambda label, tensor: lengths.update({label: int(tensor.shape[0])}), name, tensors)
    if len(set(lengths.values())) > 1:
        raise ValueError(f"`{name}` must have arrays of one length. Received: {lengths}")
    _map_named(_check_values, name, tensors)
    length = next(iter(lengths.values()), 0)
    spec = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), tensors)

    def gather(index, tensors):
        return index, tf.nest.map_structure(lambda t: tf.gather(t, index), tensors)

    def read(positions):
        # Captured by `gather` instead, large arrays make each first epoch start several times slower.
        return tf.data.Dataset.zip((positions, tf.data.Dataset.from_tensors(tensors).repeat())).map(gather)

    return Stream(tf.data.Dataset.range(length), read, spec, length, whole=True)


def _dataset_stream(name, dataset):
    _map_named(_check_spec, name, dataset.element_spec)
    length = int(dataset.cardinality())
    if length == tf.data.UNKNOWN_CARDINALITY and not any(True for _ in dataset.take(1)):
        length = 0

    def check(index, examples):
        return index, _map_named(_checked, name, examples)

    return Stream(dataset.enumerate(), lambda examples: examples.map(check), dataset.element_spec, length, whole=False)


def batches(stream, size, shuffle, seed, *, repeat):
    """A `tf.data.Dataset` of `(index, examples)`, `size` at a time and never fewer, reshuffled in each pass."""
    source = stream.source
    if shuffle:
        buffer = stream.length if stream.whole else _BUFFER if shuffle is True else shuffle
        source = source.shuffle(min(buffer, stream.length) if stream.length > 0 else buffer, seed=seed)
    if repeat:
        source = source.repeat()
    return stream.read(source.batch(size, drop_remainder=True))


def _map_named(function, name, value):
    """Calls `function(name, leaf)` on each leaf; the parts of a labelled example are named as the user knows them."""
    if isinstance(value, dict):
        return {key: _map_named(function, f"{name}[{key!r}]", part) for key, part in value.items()}
    if isinstance(value, tuple):
        parts = ("x", "y", "sample_weight") if name == "labeled" else range(len(value))
        return tuple(_map_named(function, f"{name}[{part}]", leaf) for part, leaf in zip(parts, value, strict=False))
    return function(name, value)


def _to_tensor(name, value):
    try:
        with tf.device("CPU:0"):
            tensor = tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`{name}` must be an array, or a dictionary or tuple of arrays. "
            f"Received: a {type(value).__name__} that does not convert to a tensor ({error})"
        ) from error
    if tensor.shape.rank == 0:
        raise TypeError(f"`{name}` must be an array with one row for each example. Received: the scalar {value!r}")
    return tensor


def _check_values(name, tensor):
    if tensor.dtype.is_floating:
        problem, what, is_bad = "finite", "NaN or infinite", lambda t: ~tf.math.is_finite(t)
    elif name.startswith("labeled[y]") and tensor.dtype.is_integer:
        problem, what, is_bad = "non-negative class numbers", "negative", lambda t: t < 0
    else:
        return
    for start in range(0, tensor.shape[0], 4096):
        chunk = is_bad(tensor[start : start + 4096])
        bad = tf.reduce_any(chunk, axis=list(range(1, chunk.shape.rank))).numpy()
        if bad.any():
            raise ValueError(
                f"`{name}` must be {problem}. "
                f"Received: a value that is {what} in row {start + int(np.argmax(bad))}, the first. "
                "Remove or repair such rows."
            )


def _check_spec(name, spec):
    if not isinstance(spec, tf.TensorSpec):
        raise TypeError(f"`{name}` must hold dense tensors. Received: {spec}. Convert them, e.g. with `.to_tensor()`.")
    if spec.shape.rank is None:
        raise ValueError(
            f"`{name}` must have shapes of known rank. Received: {spec}. Give the source an `output_signature`, "
            "or set the shape with `tf.ensure_shape` in a `map`."
        )
    if name.startswith("labeled[y]") and spec.shape.rank and spec.shape[0] is None:
        raise ValueError(
            f"`labeled` must hold single examples. Received: a label of {spec}. Call `.unbatch()` on the data set."
        )


def _checked(name, tensor):
    if tensor.dtype.is_floating:
        return tf.debugging.assert_all_finite(tensor, f"kc.data.pair: `{name}` must be finite")
    if name.startswith("labeled[y]") and tensor.dtype.is_integer and not tensor.dtype.is_unsigned:
        message = f"kc.data.pair: `{name}` must be non-negative class numbers"
        with tf.control_dependencies([tf.debugging.assert_non_negative(tensor, message=message)]):
            return tf.identity(tensor)
    return tensor


def check_same_inputs(x, u):
    """Raises unless two specs of inputs, labelled and unlabelled, agree in structure, shape and dtype."""
    if isinstance(u, tuple) and not isinstance(x, tuple):
        raise ValueError(
            f"`unlabeled` must hold inputs alone. Received: tuples of {len(u)}. "
            "If they are `(x, y)`, drop the labels: pass `x`, or `unlabeled.map(lambda x, y: x)`."
        )
    received = f"Received: labelled inputs of {x}, unlabelled of {u}."
    try:
        tf.nest.assert_same_structure(x, u)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`labeled` and `unlabeled` must have inputs of one structure. {received}") from error
    for a, b in zip(tf.nest.flatten(x), tf.nest.flatten(u), strict=True):
        if a.dtype != b.dtype or not a.shape.is_compatible_with(b.shape):
            raise ValueError(
                f"`labeled` and `unlabeled` must have inputs of one shape and dtype. {received} "
                "Cast or resize one of them; call `.unbatch()` on a batched data set."
            )
