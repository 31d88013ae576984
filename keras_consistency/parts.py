"""What every small part of a consistency term shares: a configuration, optional state, and what it is shown."""

import dataclasses
import functools
import inspect

import keras
import tensorflow as tf


class Part:
    """Base of targets, weights, divergences, mixers, views, perturbations and terms.

    A part keeps each constructor argument as an attribute of the same name; `get_config` reads them back. A part with
    state creates its variables in `build` and lists them in `variables`; the model tracks and saves them.

    Attributes:
        requires: keys that the batch must hold beside the inputs, such as `"index"`.
        variables: the `keras.Variable`s of the part, empty for a part without state.
    """

    requires = ()
    variables = ()

    def build(self, classes):
        """Creates the state of a part that has any. Called once by the model, in its strategy scope.

        Args:
            classes: number of classes, an `int`.
        """

    def get_config(self):
        """Every constructor argument by name; nested parts and layers as they are."""
        return {name: getattr(self, name) for name in _arguments(type(self))}

    @classmethod
    def from_config(cls, config):
        """The part that `get_config` described."""
        # Serialized first, as the values may be parts and layers or what Keras's saving made of them.
        config = {name: keras.saving.serialize_keras_object(value) for name, value in config.items()}
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})

    def __repr__(self):
        values = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({values})"


def _arguments(cls):
    """Names of a class's constructor arguments; none where it has no constructor of its own."""
    return [] if cls.__init__ is object.__init__ else list(inspect.signature(cls).parameters)


@dataclasses.dataclass(frozen=True)
class Look:
    """What the first stage of a step knows about the examples of one term, for targets and weights to judge by.

    Attributes:
        logits: the teacher's answer, float32 `(examples, classes)`, without gradient. Where a term has several teacher
            views, the logarithm of their mean probabilities.
        step: number of optimizer steps done, an integer scalar.
        index: position of each example in its data set, integer `(examples,)`, or `None` where the batch has none.
    """

    logits: tf.Tensor
    step: tf.Tensor
    index: tf.Tensor | None = None

    @functools.cached_property
    def probabilities(self):
        """The teacher's class probabilities, float32 `(examples, classes)`."""
        return tf.nn.softmax(self.logits)


def check_range(name, value, low, high, *, open_low=False, open_high=False):
    """Raises a `ValueError` that names the argument and the allowed range unless `value` is a number within it."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and (low < value if open_low else low <= value) and (value < high if open_high else value <= high):
        return
    interval = f"{'(' if open_low else '['}{low}, {high}{')' if open_high else ']'}"
    raise ValueError(f"`{name}` must be a number in {interval}. Received: {name}={value!r}")


def check_count(name, value, minimum=1):
    """Raises a `ValueError` unless `value` is an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"`{name}` must be an integer of at least {minimum}. Received: {name}={value!r}")
