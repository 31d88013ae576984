"""Leave words out."""

import keras
import tensorflow as tf

from keras_consistency.augment.text.text_layer import TextLayer
from keras_consistency.ops import random, text


@keras.saving.register_keras_serializable(package="keras_consistency")
class WordDeletion(TextLayer):
    """Leave out words, each with the same probability, but never all words of a text.

    Where all words of a text are chosen, one of them, drawn uniformly, is kept. A word is left out with its punctuation
    and the white space before it, and with that behind it where no word before it is kept.

    Args:
        strength: probability that a word is left out, in [0, 1]; 0 is the identity, and 1 keeps one word of each text.
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
        2019, section 2 ("random deletion"), https://arxiv.org/abs/1901.11196.

    Example:

    ```python
    view = kc.augment.text.WordDeletion(strength=0.3, seed=7)
    view(tf.constant(["a film that nobody should miss"]))  # "a that nobody miss"
    ```
    """

    def __init__(self, *, strength=0.1, seed=None, **kwargs):
        super().__init__(strength=strength, seed=seed, **kwargs)

    def rewrite(self, texts, seeds):
        texts = text.joined(texts)
        starts, ends, row_splits = text.words(texts)
        chosen = tf.where(random.ragged_uniform(seeds, row_splits) < self.strength)[:, 0]
        chosen = self._without_survivors(chosen, row_splits, seeds)
        # No word before it is kept: it is as far from the first word of its text as from the first that is left out.
        first = tf.gather(row_splits, random.row_of(row_splits, chosen))
        left_out = tf.range(tf.size(chosen, tf.int64)) - tf.searchsorted(chosen, first, out_type=tf.int64)
        leading = chosen - first == left_out
        place_starts = tf.where(leading, tf.gather(starts, chosen), tf.gather(ends, tf.maximum(chosen - 1, 0)))
        following = tf.gather(starts, tf.minimum(chosen + 1, tf.size(starts, tf.int64) - 1))
        place_ends = tf.where(leading, following, tf.gather(ends, chosen))
        return text.splice(texts, place_starts, place_ends, tf.fill(tf.shape(chosen), ""))

    @staticmethod
    def _without_survivors(chosen, row_splits, seeds):
        """The chosen words, without one word of each text of which all were chosen."""
        lengths = row_splits[1:] - row_splits[:-1]
        counts = tf.searchsorted(chosen, row_splits, out_type=tf.int64)
        emptied = counts[1:] - counts[:-1] == lengths
        draws = random.ragged_uniform(seeds, tf.range(tf.size(row_splits, tf.int64)), 1)
        survivors = row_splits[:-1] + tf.cast(draws * tf.cast(lengths, tf.float32), tf.int64)
        rows = random.row_of(row_splits, chosen)
        return tf.boolean_mask(chosen, ~(tf.gather(emptied, rows) & (chosen == tf.gather(survivors, rows))))
