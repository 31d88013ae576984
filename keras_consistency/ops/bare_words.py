"""Words without the punctuation around them, and in lower case: what a list of words holds."""

import tensorflow as tf

from keras_consistency.ops import text


def bare(texts, starts, ends):
    """Cuts out words, without the punctuation and symbols around them.

    Args:
        texts: a `text.Joined`.
        starts, ends: where each word starts and ends, int64 `(words,)` both.

    Returns:
        The words, string `(words,)`, and where they start now, int64 `(words,)`.
    """
    words = text.cut(texts, starts, ends)
    # Regular expressions are slow; most words have an ASCII letter or digit at either end.
    rough = tf.where(~(_is_letter(tf.gather(texts.data, starts)) & _is_letter(tf.gather(texts.data, ends - 1))))
    whole = tf.gather_nd(words, rough)
    right = tf.strings.regex_replace(whole, r"^[\pP\pS]+", "", replace_global=False)
    both = tf.strings.regex_replace(right, r"[\pP\pS]+$", "", replace_global=False)
    skipped = tf.cast(tf.strings.length(whole) - tf.strings.length(right), tf.int64)
    return tf.tensor_scatter_nd_update(words, rough, both), tf.tensor_scatter_nd_add(starts, rough, skipped)


def lower(words):
    """Words in lower case, in every script that has one: string `(words,)` -> `(words,)`."""
    lowered = tf.strings.lower(words)
    # The Unicode way takes ten times as long.
    others = tf.where(tf.strings.length(words, "UTF8_CHAR") != tf.strings.length(words))
    return tf.tensor_scatter_nd_update(lowered, others, tf.strings.lower(tf.gather_nd(words, others), "utf-8"))


def is_capitalized(words, lowered):
    """Whether the first character of words, none of them empty, is a capital: two string `(words,)` -> bool."""
    first = [tf.strings.substr(each, 0, 1, unit="UTF8_CHAR") for each in (words, lowered)]
    return first[0] != first[1]


def _is_letter(data):
    return (data - 48 < 10) | (tf.bitwise.bitwise_or(data, 32) - 97 < 26)
