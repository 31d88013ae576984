"""Change the order of sentences."""

import keras
import tensorflow as tf

from keras_consistency.augment.text.text_layer import TextLayer
from keras_consistency.ops import random, text


@keras.saving.register_keras_serializable(package="keras_consistency")
class SentenceShuffle(TextLayer):
    """Shuffle some sentences of each text among their places.

    Each sentence is chosen with the same probability. The chosen ones of a text change places with each other, in an
    order drawn from all orders; the others do not move. In a text whose sentences have moved, one space stands between
    two sentences, and no white space around them; any other text is returned to the bit.

    A sentence ends at a line break, after one of `. ! ? …` that white space follows, and after one of the full-width
    marks `。 ！ ？`, with the quotation marks and brackets that close behind it. Nothing is known of abbreviations:
    "Mr. Smith" is taken for the end of a sentence and its successor.

    Args:
        strength: probability that a sentence is chosen, in [0, 1]; 0 is the identity, and 1 shuffles all sentences.
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
        Lewis et al., "BART: Denoising Sequence-to-Sequence Pre-training for Natural Language Generation, Translation,
        and Comprehension", 2019, section 2.2 ("sentence permutation"), https://arxiv.org/abs/1910.13461. There
        sentences end at full stops, and all are shuffled.

    Example:

    ```python
    view = kc.augment.text.SentenceShuffle(seed=1)
    view(tf.constant(["See it. Twice! You will laugh."]))  # "You will laugh. Twice! See it."
    ```
    """

    def __init__(self, *, strength=1.0, seed=None, **kwargs):
        super().__init__(strength=strength, seed=seed, **kwargs)

    def rewrite(self, texts, seeds):
        found = text.sentences(texts)
        chosen = tf.where(random.ragged_uniform(seeds, found.row_splits) < self.strength)[:, 0]
        order = random.ragged_shuffle(seeds, found.row_splits, 1, chosen)
        moved = tf.tensor_scatter_nd_update(found.flat_values, chosen[:, None], tf.gather(found.flat_values, order))
        rows = tf.boolean_mask(random.row_of(found.row_splits, chosen), order != chosen)
        changed = tf.scatter_nd(rows[:, None], tf.ones_like(rows), tf.shape(texts, tf.int64)) > 0
        return tf.where(changed, tf.strings.reduce_join(found.with_flat_values(moved), axis=1, separator=" "), texts)
