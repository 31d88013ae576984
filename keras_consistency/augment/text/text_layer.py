"""The base of the text layers: what texts they take, and a seed for each."""

import tensorflow as tf

from keras_consistency.augment.random_layer import RandomLayer
from keras_consistency.ops import random
from keras_consistency.parts import check_range


class TextLayer(RandomLayer):
    """A random layer for texts; it draws for each text on its own, whatever else is in the batch.

    A subclass implements `rewrite(texts, seeds)`: strings `(n,)` and a seed for each, int64 `(n,)`, to strings `(n,)`.

    Words are what ASCII white space separates, with the punctuation, and in Korean the particles, that belong to them.
    White space stays where it is unless a layer says otherwise, and a text of which nothing is chosen is returned to
    the bit. Bytes that are not UTF-8 are no error: they are moved, left out or replaced with the word that they stand
    in, or each like a character of its own, and the characters beside them stay whole.

    Args:
        strength: probability that a word, sentence or character is chosen, in [0, 1]; 0 is the identity.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        Any, of dense strings, a whole text in each: `()`, `(batch,)` or `(batch, 1)` as a rule. Keras layers take
        tensors and arrays, and no lists of Python strings.

    Output shape:
        As the input.

    Raises:
        ValueError: where `strength` lies outside [0, 1].
        TypeError: where the inputs are not strings, or are a ragged or sparse tensor.
    """

    def __init__(self, *, strength, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        check_range("strength", strength, 0, 1)
        self.strength = strength
        # XLA knows no strings: Keras is not to compile a model that holds the layer with it.
        self.supports_jit = False

    def rewrite(self, texts, seeds):
        """The views of `texts`, string `(n,)`, that `seeds`, int64 `(n,)`, stand for. Implemented by the subclass."""
        raise NotImplementedError(f"`{type(self).__name__}` does not implement `rewrite(texts, seeds)`.")

    def augment(self, inputs, seed):
        name = type(self).__name__
        if isinstance(inputs, (tf.RaggedTensor, tf.SparseTensor)):
            raise TypeError(
                f"`{name}` takes a dense tensor of strings, a whole text in each: join the words of a text first, as "
                "`tf.strings.reduce_join(words, axis=-1, separator=' ')` does. "
                f"Received: a {type(inputs).__name__} of shape {inputs.shape}"
            )
        inputs = tf.convert_to_tensor(inputs)
        if inputs.dtype != tf.string:
            raise TypeError(
                f"`{name}` takes strings: put it before the layer that makes numbers of them. "
                f"Received: texts of dtype {inputs.dtype.name}"
            )
        texts = tf.reshape(inputs, [-1])
        views = self.rewrite(texts, random.row_seeds(seed, tf.size(texts)))
        return tf.ensure_shape(tf.reshape(views, tf.shape(inputs)), inputs.shape)

    def get_config(self):
        return {**super().get_config(), "strength": self.strength}
