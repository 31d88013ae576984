"""Replace words by synonyms."""

import keras
import tensorflow as tf

from keras_consistency.augment.text.synonyms import Synonyms
from keras_consistency.augment.text.text_layer import TextLayer
from keras_consistency.ops import random, text


@keras.saving.register_keras_serializable(package="keras_consistency")
class SynonymReplacement(TextLayer):
    """Replace words by synonyms out of a lexicon.

    Each word is chosen with the same probability. One that is chosen and stands in the lexicon is replaced by one of
    its synonyms, drawn uniformly; the punctuation and symbols around it stay. It is looked up whole: in lower case,
    with a capital first letter or in capitals, which its synonym then has as well. In a language whose words have
    particles or endings, as Korean has, each form that is to be found must be in the lexicon.

    Args:
        lexicon: path of a file or of WordNet (see `read_lexicon`), or a dictionary of words to lists of synonyms. The
            layer's configuration keeps what is given: a path is read again where the layer is loaded, and a dictionary
            is part of the file. A SavedModel holds all that it needs.
        stop_words: words of the lexicon that are left alone. With WordNet pass `ENGLISH_STOP_WORDS`: it knows "in" as
            an inch, and "I" as iodine.
        strength: probability that a word is chosen, in [0, 1]; 0 is the identity, and 1 replaces each word that is in
            the lexicon.
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
        2019, section 2 ("synonym replacement"), https://arxiv.org/abs/1901.11196. There the number of replaced words is
        0.1 times that of all words, and a word is replaced wherever it stands in the text.

    Example:

    ```python
    text = kc.augment.text
    view = text.SynonymReplacement("/usr/share/wordnet", stop_words=text.ENGLISH_STOP_WORDS, strength=0.5, seed=1)
    view(tf.constant(["A good film, and a happy end!"]))  # "A good picture, and a happy death!"
    ```
    """

    def __init__(self, lexicon, *, stop_words=(), strength=0.1, seed=None, **kwargs):
        super().__init__(strength=strength, seed=seed, **kwargs)
        self.synonyms = Synonyms(lexicon, stop_words=stop_words, same_case=True)

    def rewrite(self, texts, seeds):
        texts = text.joined(texts)
        # Between two gaps may be no word: no lexicon has it, and to leave it out would take longer.
        gaps, row_splits = text.gaps(texts)
        chosen, draws = random.ragged_choice(seeds, row_splits, self.strength)
        starts, ends = tf.gather(gaps, chosen) + 1, tf.gather(gaps, chosen + 1)
        _, starts, ends, synonyms = self.synonyms.draw(texts, starts, ends, draws)
        return text.splice(texts, starts, ends, synonyms)

    def get_config(self):
        return {**super().get_config(), **self.synonyms.get_config()}
