"""The base of the mixers, and of those that give each example a partner."""

import keras
import tensorflow as tf

from keras_consistency.ops import random, replicas
from keras_consistency.parts import Part, check_range


class Mixer(Part):
    """Base of the mixers.

    Attributes:
        labeled: whether the labelled examples are mixed as well; their labels become probabilities then.
    """

    labeled = True


class PairMixer(Mixer):
    """Mixes each example, and its target, with those of a random partner from all the batches.

    Partners are drawn from the global batch, whatever the number of replicas; each example is the partner of one.

    A subclass implements `draw(seed, inputs)`, which returns a tensor with one row for each row of `inputs`, all
    batches together, and `mix(inputs, targets, drawn)`, which mixes one batch and draws nothing.

    Args:
        alpha: of the Beta distribution of the shares, in (0, inf).
        labeled: whether to mix the labelled examples too.
    """

    def __init__(self, *, alpha, labeled=True):
        check_range("alpha", alpha, 0, float("inf"), open_low=True, open_high=True)
        if not isinstance(labeled, bool):
            raise TypeError(f"`labeled` must be True or False. Received: labeled={labeled!r}")
        self.alpha = alpha
        self.labeled = labeled

    def __call__(self, inputs, targets, *, seed):
        """Mixes.

        Args:
            inputs: list of tensors `(examples_i, ...)` of equal shapes but for the first axis.
            targets: list of as many tensors, class probabilities `(examples_i, classes)` or values, float.
            seed: integers `(2,)`.

        Returns:
            Two lists, of the same shapes.

        Raises:
            TypeError: where inputs are not numeric tensors, or targets are not of floats.
        """
        inputs, targets = self._checked("inputs", inputs), self._checked("targets", targets)
        if len({value.dtype for value in inputs}) > 1:
            inputs = [value if value.dtype.is_floating else tf.cast(value, tf.float32) for value in inputs]
        all_inputs = tf.concat([replicas.all_gather(value) for value in inputs], axis=0)
        all_targets = tf.concat([replicas.all_gather(value) for value in targets], axis=0)
        total = tf.shape(all_inputs)[0]
        order = tf.argsort(random.shared_uniform(random.fold(seed, 0), [total]), stable=True)
        draws = self.draw(random.fold(seed, 1), all_inputs)

        mixed_inputs, mixed_targets, start = [], [], 0
        for own_inputs, own_targets in zip(inputs, targets, strict=True):
            end = start + tf.shape(own_inputs)[0] * replicas.count()
            partner, drawn = (replicas.local_rows(value[start:end]) for value in (order, draws))
            pairs = (own_inputs, tf.gather(all_inputs, partner)), (own_targets, tf.gather(all_targets, partner))
            for mixed, value in zip((mixed_inputs, mixed_targets), self.mix(*pairs, drawn), strict=True):
                mixed.append(value)
            start = end
        return mixed_inputs, mixed_targets

    def draw(self, seed, inputs):
        """What is drawn for each row of `inputs`: a tensor `(rows, ...)`."""
        raise NotImplementedError(f"`{type(self).__name__}` does not implement `draw(seed, inputs)`.")

    def mix(self, inputs, targets, drawn):
        """Mixes one batch: pairs of inputs and of targets, own and partners', and the rows drawn; returns both."""
        raise NotImplementedError(f"`{type(self).__name__}` does not implement `mix(inputs, targets, drawn)`.")

    def _checked(self, name, values):
        if not isinstance(values, (list, tuple)):
            raise TypeError(
                f"`{name}` of `{type(self).__name__}` must be a list of batches, as in `mixer([x], [y], seed=seed)`. "
                f"Received: {name} of type {type(values).__name__}"
            )
        return [self._checked_batch(name, value) for value in values]

    def _checked_batch(self, name, value):
        nested = keras.tree.is_nested(value)
        value = value if nested else tf.convert_to_tensor(value)
        if nested or value.dtype == tf.string:
            raise TypeError(
                f"`{type(self).__name__}` mixes numeric tensors. Received {name} of structure "
                f"{keras.tree.map_structure(lambda leaf: tf.convert_to_tensor(leaf).dtype.name, value)}"
            )
        if name == "targets" and not value.dtype.is_floating:
            raise TypeError(
                f"`targets` of `{type(self).__name__}` must be class probabilities or values, of a float dtype: "
                f"`tf.one_hot` makes them of class numbers. Received: targets of dtype {value.dtype.name}"
            )
        return value


def blend(own, partners, share):
    """`share * own + (1 - share) * partners`; integers become float32. `share` is float32, one for each row."""
    dtype = own.dtype if own.dtype.is_floating else tf.float32
    share = tf.cast(tf.reshape(share, [-1] + [1] * (own.shape.rank - 1)), dtype)
    return share * tf.cast(own, dtype) + (1 - share) * tf.cast(partners, dtype)
