"""Perturbed embeddings: a network reads token numbers, and what one of its layers makes of them is moved."""

import contextlib
import threading
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_consistency import _compat

_LOCK = threading.Lock()
_USERS = {}  # id of a layer whose `call` is replaced -> how many blocks need it
_ACTIVE = threading.local()  # replicas are traced in threads of their own


class Shifted(NamedTuple):
    """Inputs of a network, with what is to be added to the outputs of its layers.

    Attributes:
        inputs: what the network takes.
        offsets: dictionary from the name of a layer to a float32 tensor of the shape of its output.
    """

    inputs: tf.Tensor
    offsets: dict


def find(network, name):
    """The layer of a name, however deep in the network.

    Raises:
        ValueError: where none or several have the name.
    """
    layers = _compat.layers_of(network)
    named = [layer for layer in layers if layer.name == name]
    if len(named) == 1:
        return named[0]
    raise ValueError(
        "`at` must be the name of one of the student's layers, such as its embedding: one of "
        f"{[layer.name for layer in layers]}. Received: at={name!r}, the name of {len(named)} layers"
    )


def read(network, name, inputs):
    """What a layer of the network makes of the inputs in inference mode, and which of it is real.

    Returns:
        float32 `(examples, ...)`, without gradient; and the mask that Keras keeps of it, booleans of its first axes
        such as `(examples, steps)`, or `None` where there is none.

    Raises:
        ValueError: where the layer is not called once, or returns anything but one tensor of floating-point numbers.
    """
    found = []
    with _replaced({find(network, name): lambda output: found.append(output) or output}):
        network(inputs, training=False)
    output = found[0] if len(found) == 1 else None
    if not tf.is_tensor(output) or not output.dtype.is_floating or not _is_here(output):
        kinds = {f"a tensor of {each.dtype.name}" if tf.is_tensor(each) else f"{type(each)}" for each in found}
        raise ValueError(
            "`at` must name a layer that the student calls once in a forward, outside of any loop or `tf.function` of "
            "its own, and that returns one tensor of floating-point numbers. Received: "
            f"at={name!r}, a layer that it called {len(found)} times and that returned {sorted(kinds)}"
        )
    return tf.stop_gradient(tf.cast(output, tf.float32)), _compat.mask_of(output)


def call(network, inputs, *, training):
    """The network's answer; of `Shifted` inputs, with the offsets added inside it."""
    if not isinstance(inputs, Shifted):
        return network(inputs, training=training)
    adders = {find(network, name): _Adder(offset) for name, offset in inputs.offsets.items()}
    with _replaced(adders):
        return network(inputs.inputs, training=training)


def alike(streams):
    """A dictionary of inputs, in which all are `Shifted` at the same layers if any is: where they were not, by zero."""
    shifted = [value for value in streams.values() if isinstance(value, Shifted)]
    if not shifted:
        return streams
    examples = {name: offset for value in shifted for name, offset in value.offsets.items()}
    made = {}
    for key, value in streams.items():
        inputs, offsets = value if isinstance(value, Shifted) else (value, {})
        rows = tf.shape(keras.tree.flatten(inputs)[0])[:1]
        zeros = {name: _zeros(rows, example) for name, example in examples.items() if name not in offsets}
        made[key] = Shifted(inputs, {name: {**zeros, **offsets}[name] for name in examples})
    return made


class _Adder:
    """Adds an offset to the output of a layer, in the output's precision; the output keeps its mask."""

    def __init__(self, offset):
        self.offset = offset

    def __call__(self, output):
        return _compat.masked_like(output + tf.cast(self.offset, output.dtype), output)


def _is_here(tensor):
    """Whether a tensor belongs to the graph that is being built, or is a value where none is."""
    if tf.executing_eagerly():
        return not tf.is_symbolic_tensor(tensor)
    return not tf.is_symbolic_tensor(tensor) or tensor.graph is tf.compat.v1.get_default_graph()


def _zeros(rows, example):
    zeros = tf.zeros(tf.concat([rows, tf.shape(example)[1:]], axis=0))
    return tf.ensure_shape(zeros, [None, *example.shape[1:]])


@contextlib.contextmanager
def _replaced(hooks):
    """Inside, in this thread, each layer returns what its hook makes of its output."""
    before = getattr(_ACTIVE, "hooks", {})
    _ACTIVE.hooks = before | {id(layer): hook for layer, hook in hooks.items()}
    for layer in hooks:
        _acquire(layer)
    try:
        yield
    finally:
        for layer in hooks:
            _release(layer)
        _ACTIVE.hooks = before


def _acquire(layer):
    with _LOCK:
        _USERS[id(layer)] = _USERS.get(id(layer), 0) + 1
        if _USERS[id(layer)] == 1:
            original = layer.call

            def hooked(*args, **kwargs):
                output = original(*args, **kwargs)
                hook = getattr(_ACTIVE, "hooks", {}).get(id(layer))
                return output if hook is None else hook(output)

            hooked.own = vars(layer).get("call")
            layer.call = hooked


def _release(layer):
    with _LOCK:
        _USERS[id(layer)] -= 1
        if not _USERS[id(layer)]:
            del _USERS[id(layer)]
            own = layer.call.own
            del layer.call
            if own is not None:
                layer.call = own
