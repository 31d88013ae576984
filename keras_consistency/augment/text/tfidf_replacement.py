"""Replace words that say little about their text."""

import collections
import itertools
import math
import numbers
import reprlib

import keras
import numpy as np
import tensorflow as tf

from keras_consistency.augment.text.text_layer import TextLayer
from keras_consistency.ops import bare_words, random, text
from keras_consistency.parts import check_count

_BATCH = 256


@keras.saving.register_keras_serializable(package="keras_consistency")
class TfIdfReplacement(TextLayer):
    """Replace words by others of a vocabulary: the ones that say little about their text, by ones that say little.

    A word's TF-IDF is the share of the text's words that it makes up, times its IDF. Word `x` of a text of `|x|` words
    is replaced with the probability

        min(strength * (C - TFIDF(x)) / Z, 1),  C = max TFIDF,  Z = sum (C - TFIDF) / |x|

    over the words of the text, so that about the share `strength` of all words is replaced and the rarest stay. What
    takes its place is drawn from the vocabulary with probabilities that go with `max S - S(w)`, where `S(w) =
    frequency(w) * IDF(w)`; it may be the same word. Words are compared in lower case without the punctuation around
    them, which stays, as does a capital first letter. What is all punctuation is no word. A word that is not in the
    vocabulary is taken to be as rare as the rarest there. In a text whose words all have the same TF-IDF, nothing is
    replaced.

    Args:
        vocabulary: list of words in lower case.
        frequencies: how often each occurs in all texts, a list of numbers above 0.
        idf: the logarithm of the number of texts per text with the word, a list of numbers of at least 0.
        strength: the share of words that is replaced, about, in [0, 1]; 0 is the identity.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        Any, of dense strings, a whole text in each (see `TextLayer`).

    Output shape:
        As the input.

    Raises:
        ValueError: where `strength` lies outside [0, 1], or the three lists are empty, differ in length or hold other
            values.
        TypeError: where the inputs do not fit (see `TextLayer`).

    References:
        Xie et al., "Unsupervised Data Augmentation for Consistency Training", 2020, appendix B,
        https://arxiv.org/abs/1904.12848.

    Example:

    ```python
    view = kc.augment.text.TfIdfReplacement.from_texts(reviews, max_words=20_000, strength=0.3, seed=1)
    views = view(reviews)
    ```
    """

    def __init__(self, *, vocabulary, frequencies, idf, strength=0.1, seed=None, **kwargs):
        super().__init__(strength=strength, seed=seed, **kwargs)
        _check_words(vocabulary)
        _check_numbers("frequencies", frequencies, vocabulary, "above 0", lambda number: number > 0)
        _check_numbers("idf", idf, vocabulary, "of at least 0", lambda number: number >= 0)
        self.vocabulary = list(vocabulary)
        self.frequencies = [float(value) for value in frequencies]
        self.idf = [float(value) for value in idf]
        scores = np.array(self.frequencies) * np.array(self.idf)
        # All scores are the same where there is one word: it is as likely as any other.
        chances = scores.max() - scores if scores.max() > scores.min() else np.ones_like(scores)
        count = len(self.vocabulary)
        words = tf.lookup.KeyValueTensorInitializer(self.vocabulary, range(count), tf.string, tf.int64)
        # The number behind the last stands for every other word.
        self._numbers = tf.lookup.StaticHashTable(words, default_value=count)
        self._idf = tf.constant([*self.idf, max(self.idf)], tf.float32)
        self._edges = tf.constant(np.cumsum(chances)[:-1] / chances.sum(), tf.float64)
        capitalized = [word[:1].upper() + word[1:] for word in self.vocabulary]
        self._words = tf.constant([self.vocabulary, capitalized])

    @classmethod
    def from_texts(cls, texts, *, max_words=None, **kwargs):
        """A layer whose vocabulary are the words of some texts.

        Args:
            texts: strings: an array, a list, or a `tf.data.Dataset` of single texts or batches of them, read once.
            max_words: how many words to keep, the most frequent ones; `None` for all.
            **kwargs: `strength` and what else the layer takes.

        Raises:
            ValueError: where there is no word.
            TypeError: where `texts` are not strings.
        """
        if max_words is not None:
            check_count("max_words", max_words)
        frequencies, documents, number = _counted(texts)
        if not frequencies:
            raise ValueError("`texts` must hold at least one word. Received: texts without a word.")
        kept = frequencies.most_common(max_words)
        return cls(
            vocabulary=[word for word, _ in kept],
            frequencies=[count for _, count in kept],
            idf=[math.log(number / documents[word]) for word, _ in kept],
            **kwargs,
        )

    def rewrite(self, texts, seeds):
        joined = text.joined(texts)
        starts, ends, words, row_splits = _words(joined)
        probabilities = self._probabilities(words, row_splits)
        chosen = tf.reshape(tf.where(random.ragged_uniform(seeds, row_splits) < probabilities), [-1])
        draws = tf.cast(random.ragged_uniform(seeds, row_splits, 1, chosen), tf.float64)
        starts, ends = tf.gather(starts, chosen), tf.gather(ends, chosen)
        capitalized = tf.cast(bare_words.is_capitalized(text.cut(joined, starts, ends)), tf.int32)
        drawn = tf.searchsorted(self._edges, draws, side="right")
        return text.splice(joined, starts, ends, tf.gather_nd(self._words, tf.stack([capitalized, drawn], axis=1)))

    def _probabilities(self, words, row_splits):
        """With which probability each word is replaced: float32 `(words,)`."""
        texts = tf.size(row_splits) - 1
        rows = random.row_of(row_splits, tf.range(tf.size(words, tf.int64)))
        lengths = tf.cast(row_splits[1:] - row_splits[:-1], tf.float32)
        # A word of a text is known by its text and a hash of 40 bits.
        same = tf.bitwise.left_shift(rows, tf.constant(40, tf.int64)) + tf.strings.to_hash_bucket_fast(words, 2**40)
        _, numbers, counts = tf.unique_with_counts(same)
        share = tf.cast(tf.gather(counts, numbers), tf.float32) / tf.gather(lengths, rows)
        tfidf = share * tf.gather(self._idf, self._numbers.lookup(words))
        below = tf.gather(tf.math.unsorted_segment_max(tfidf, rows, texts), rows) - tfidf
        means = tf.math.unsorted_segment_sum(below, rows, texts) / tf.maximum(lengths, 1.0)
        return tf.math.divide_no_nan(self.strength * below, tf.gather(means, rows))

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary": list(self.vocabulary),
            "frequencies": list(self.frequencies),
            "idf": list(self.idf),
        }


def _words(joined):
    """The words of texts, without the punctuation around them: starts, ends, lower case, row splits."""
    starts, ends, row_splits = text.words(joined)
    starts, ends = bare_words.strip(joined, starts, ends)
    kept = tf.reshape(tf.where(starts < ends), [-1])
    starts, ends = tf.gather(starts, kept), tf.gather(ends, kept)
    row_splits = tf.searchsorted(kept, row_splits, out_type=tf.int64)
    return starts, ends, bare_words.lower(text.cut(joined, starts, ends)), row_splits


def _counted(texts):
    """How often each word occurs, in how many texts it does, and the number of texts."""
    if not isinstance(texts, tf.data.Dataset):
        texts = tf.data.Dataset.from_tensor_slices(tf.reshape(tf.convert_to_tensor(texts), [-1]))
    spec = texts.element_spec
    if not isinstance(spec, tf.TensorSpec) or spec.dtype != tf.string:
        raise TypeError(
            "`texts` must be strings: an array, a list, or a `tf.data.Dataset` of texts alone, as by "
            f"`data.map(lambda text, label: text)`. Received: elements of {spec}"
        )
    if spec.shape.rank == 0:
        texts = texts.batch(_BATCH)
    frequencies, documents, number = collections.Counter(), collections.Counter(), 0
    for _, _, words, row_splits in texts.map(lambda batch: _words(text.joined(tf.reshape(batch, [-1])))):
        words = words.numpy()
        number += len(row_splits) - 1
        for start, end in itertools.pairwise(row_splits.numpy()):
            frequencies.update(words[start:end])
            documents.update(set(words[start:end]))
    return _decoded(frequencies), _decoded(documents), number


def _decoded(counts):
    """The same counts of strings. What is not UTF-8 is no word to put into a text."""
    pairs = ((word.decode("utf-8", "replace"), word, count) for word, count in counts.items())
    return collections.Counter({string: count for string, word, count in pairs if string.encode() == word})


def _check_words(vocabulary):
    valid = isinstance(vocabulary, (list, tuple)) and len(vocabulary) > 0
    if not valid or not all(isinstance(word, str) and word for word in vocabulary):
        raise ValueError(
            "`vocabulary` must be a list of at least one word, none of them empty; `TfIdfReplacement.from_texts` makes "
            f"one. Received: vocabulary={reprlib.repr(vocabulary)}"
        )
    repeated = [word for word, count in collections.Counter(vocabulary).items() if count > 1]
    if repeated:
        raise ValueError(f"`vocabulary` must have each word once. Received: {repeated[0]!r} more than once.")


def _check_numbers(name, values, vocabulary, allowed, is_valid):
    valid = isinstance(values, (list, tuple)) and len(values) == len(vocabulary)
    if not valid or not all(
        isinstance(each, numbers.Real) and math.isfinite(each) and is_valid(each) for each in values
    ):
        raise ValueError(
            f"`{name}` must be a list of numbers {allowed}, one for each of the {len(vocabulary)} words of "
            f"`vocabulary`. Received: {name}={reprlib.repr(values)}"
        )
