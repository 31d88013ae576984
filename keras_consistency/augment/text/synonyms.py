"""The synonyms of a lexicon as tensors, from which a graph draws."""

import collections.abc
import itertools
import os

import tensorflow as tf

from keras_consistency.augment.text.lexicon import as_lexicon
from keras_consistency.ops import bare_words, text

_FORMS = (str, lambda word: word[:1].upper() + word[1:], str.upper)


class Synonyms(tf.Module):
    """Finds the words of texts in a lexicon, and draws a synonym for each.

    A word is looked up whole, without the punctuation around it: as it stands in the lexicon, with a capital first
    letter, or in capitals.

    Args:
        lexicon: path that `read_lexicon` takes, or a dictionary of words to lists of synonyms.
        stop_words: words of the lexicon that are not found, in lower case.
        same_case: whether a synonym gets the capitals of the word, or is as in the lexicon.
    """

    def __init__(self, lexicon, *, stop_words, same_case):
        super().__init__()
        entries = {}
        found = as_lexicon(lexicon, stop_words=stop_words)
        for form in _FORMS:
            for word, synonyms in found.items():
                entries.setdefault(form(word), [form(each) for each in synonyms] if same_case else synonyms)
        # All synonyms lie in one string: to cut one out takes half the time of gathering it. A word has the number of
        # its first synonym and, in the lowest bits, how many it has.
        pieces = [each.encode() for each in itertools.chain.from_iterable(entries.values())]
        counts = [len(synonyms) for synonyms in entries.values()]
        self._bits = max(counts).bit_length()
        firsts = itertools.accumulate(counts, initial=0)
        numbers = [first << self._bits | count for first, count in zip(firsts, counts, strict=False)]
        self._string = tf.constant(b"".join(pieces))
        self._edges = tf.constant(list(itertools.accumulate(map(len, pieces), initial=0)), tf.int32)
        words = tf.lookup.KeyValueTensorInitializer(list(entries), numbers, tf.string, tf.int64)
        self._table = tf.lookup.StaticHashTable(words, default_value=-1)
        self._lexicon, self._stop_words = lexicon, stop_words

    def draw(self, texts, starts, ends, draws):
        """Draws a synonym for each word that has one.

        Args:
            texts: a `text.Joined`.
            starts, ends: where each word starts and ends, int64 `(words,)` both.
            draws: uniform draws in `[0, 1)`, float64 `(words,)`.

        Returns:
            The numbers of the words that have a synonym, where they start and end without the punctuation around them,
            and their synonyms: int64 `(found,)` three times and string `(found,)`.
        """
        starts, ends = bare_words.strip(texts, starts, ends)
        numbers = self._table.lookup(text.cut(texts, starts, ends))
        found = tf.reshape(tf.where(numbers >= 0), [-1])
        numbers, draws = tf.gather(numbers, found), tf.gather(draws, found)
        counts = tf.cast(tf.bitwise.bitwise_and(numbers, 2**self._bits - 1), tf.float64)
        chosen = tf.bitwise.right_shift(numbers, tf.constant(self._bits, tf.int64)) + tf.cast(draws * counts, tf.int64)
        edges = tf.gather(self._edges, chosen)
        synonyms = tf.strings.substr(self._string, edges, tf.gather(self._edges, chosen + 1) - edges)
        return found, tf.gather(starts, found), tf.gather(ends, found), synonyms

    def get_config(self):
        """The arguments of a layer that this is made of: a path, or the whole dictionary, and the stop words."""
        if isinstance(self._lexicon, collections.abc.Mapping):
            lexicon = {word: list(synonyms) for word, synonyms in self._lexicon.items()}
        else:
            lexicon = os.fspath(self._lexicon)
        return {"lexicon": lexicon, "stop_words": list(self._stop_words)}
