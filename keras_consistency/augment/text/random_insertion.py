"""Put synonyms of a text's words into it."""

import keras
import tensorflow as tf

from keras_consistency.augment.text.synonyms import Synonyms
from keras_consistency.augment.text.text_layer import TextLayer
from keras_consistency.ops import random, text


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomInsertion(TextLayer):
    """Put synonyms of a text's own words into it.

    Each word is chosen with the same probability. For one that is chosen and stands in the lexicon, one of its
    synonyms, drawn uniformly, is inserted before some word of the text or at its end, all places being equally likely.
    Words are looked up as by `SynonymReplacement`; what is inserted is written as in the lexicon.

    Args:
        lexicon: path of a file or of WordNet (see `read_lexicon`), or a dictionary of words to lists of synonyms. The
            layer's configuration keeps what is given: a path is read again where the layer is loaded, and a dictionary
            is part of the file. A SavedModel holds all that it needs.
        stop_words: words of the lexicon whose synonyms are not inserted. With WordNet pass `ENGLISH_STOP_WORDS`.
        strength: probability that a word is chosen, in [0, 1]; 0 is the identity.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        Any, of dense strings, a whole text in each (see `TextLayer`).

    Output shape:
        As the input.

    Raises:
        ValueError: where `strength` lies outside [0, 1], or the lexicon is empty or malformed, with the line.
        FileNotFoundError: where there is no lexicon at the path.
        TypeError: where the lexicon is neither path nor dictionary, or inputs do not fit (see `TextLayer`).

    References:
        Wei and Zou, "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks",
        2019, section 2 ("random insertion"), https://arxiv.org/abs/1901.11196. There 0.1 times as many synonyms are
        inserted as the text has words, of words drawn among those that have one.

    Example:

    ```python
    view = kc.augment.text.RandomInsertion({"film": ["movie", "picture"]}, strength=1.0, seed=1)
    view(tf.constant(["a film that nobody should miss"]))  # "picture a film that nobody should miss"
    ```
    """

    def __init__(self, lexicon, *, stop_words=(), strength=0.1, seed=None, **kwargs):
        super().__init__(strength=strength, seed=seed, **kwargs)
        self.synonyms = Synonyms(lexicon, stop_words=stop_words, same_case=False)

    def rewrite(self, texts, seeds):
        texts = text.joined(texts)
        starts, ends, row_splits = text.words(texts)
        chosen, draws = random.ragged_choice(seeds, row_splits, self.strength)
        found, _, _, synonyms = self.synonyms.draw(texts, tf.gather(starts, chosen), tf.gather(ends, chosen), draws)
        chosen = tf.gather(chosen, found)
        first, behind = (tf.gather(row_splits, random.row_of(row_splits, chosen) + step) for step in (0, 1))
        draws = random.ragged_uniform(seeds, row_splits, 1, chosen)
        before = first + tf.cast(draws * tf.cast(behind - first + 1, tf.float32), tf.int64)
        is_last = before == behind
        last = tf.gather(ends, behind - 1)
        places = tf.where(is_last, last, tf.gather(starts, tf.minimum(before, tf.size(starts, tf.int64) - 1)))
        pieces = tf.where(is_last, tf.strings.join([" ", synonyms]), tf.strings.join([synonyms, " "]))
        order = tf.argsort(places, stable=True)
        places = tf.gather(places, order)
        return text.splice(texts, places, places, tf.gather(pieces, order))

    def get_config(self):
        return {**super().get_config(), **self.synonyms.get_config()}
