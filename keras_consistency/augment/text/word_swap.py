"""Change the order of words."""

import keras
import tensorflow as tf

from keras_consistency.augment.text.text_layer import TextLayer
from keras_consistency.ops import random, text


@keras.saving.register_keras_serializable(package="keras_consistency")
class WordSwap(TextLayer):
    """Shuffle some words of each text among their places.

    Each word is chosen with the same probability. The chosen ones of a text change places with each other, in an order
    drawn from all orders, so that one may stay where it is; the others do not move. Words move with their punctuation.

    Args:
        strength: probability that a word is chosen, in [0, 1]; 0 is the identity, and 1 shuffles all words.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        Any, of dense strings, a whole text in each (see `TextLayer`).

    Output shape:
        As the input.

    Raises:
        ValueError: where `strength` lies outside [0, 1].
        TypeError: where the inputs do not fit (see `TextLayer`).

    References:
        Wei and Zou, "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks",
        2019, section 2 ("random swap"), https://arxiv.org/abs/1901.11196. There two random words change places, as
        often as 0.1 times the number of words, and a word may move several times.

    Example:

    ```python
    view = kc.augment.text.WordSwap(strength=0.5, seed=1)
    view(tf.constant(["a film that nobody should miss"]))  # "that film a nobody should miss"
    ```
    """

    def __init__(self, *, strength=0.2, seed=None, **kwargs):
        super().__init__(strength=strength, seed=seed, **kwargs)

    def rewrite(self, texts, seeds):
        texts = text.joined(texts)
        starts, ends, row_splits = text.words(texts)
        chosen = tf.where(random.ragged_uniform(seeds, row_splits) < self.strength)[:, 0]
        order = random.ragged_shuffle(seeds, row_splits, 1, chosen)
        moved = text.cut(texts, tf.gather(starts, order), tf.gather(ends, order))
        return text.splice(texts, tf.gather(starts, chosen), tf.gather(ends, chosen), moved)
