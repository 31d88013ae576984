"""Texts as bytes: where their words, characters and sentences are, cutting them out and putting others in their place.

TensorFlow's string operations pay for every string that they make. A batch is therefore joined to one string, in which
words are pairs of positions, and only what is replaced becomes a string of its own.

White space is that of ASCII, and a character is a byte with the bytes `10xxxxxx` behind it, three at most: what UTF-8
calls a character, and bytes that are not UTF-8 pass as they are.
"""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Joined:
    """A batch of `n` texts as one string, with a line break before, between and behind them.

    Attributes:
        string: the string, a scalar.
        data: its bytes, uint8 `(bytes,)`.
        starts: position of the first byte of each text, int64 `(n,)`.
        ends: position behind the last byte of each text, int64 `(n,)`.
    """

    string: tf.Tensor
    data: tf.Tensor
    starts: tf.Tensor
    ends: tf.Tensor


def joined(texts):
    """The texts, string `(n,)`, as a `Joined`."""
    string = tf.strings.reduce_join(tf.concat([[""], texts, [""]], axis=0), separator="\n")
    lengths = tf.cast(tf.strings.length(texts), tf.int64)
    ends = tf.cumsum(lengths + 1)
    return Joined(string, tf.io.decode_raw(string, tf.uint8), ends - lengths, ends)


def words(texts):
    """Where the words are: what white space separates, punctuation included.

    Args:
        texts: a `Joined`.

    Returns:
        Position of the first byte of each word and the one behind its last, int64 `(words,)`, and the row splits, int64
        `(n + 1,)`: text `r` holds the words from `row_splits[r]` up to `row_splits[r + 1]`.
    """
    space = _is_space(texts.data)
    # The string starts and ends in white space: its edges are in turn the start and the end of a word.
    starts, ends = tf.unstack(tf.reshape(tf.where(space[1:] != space[:-1]) + 1, [-1, 2]), axis=1)
    return starts, ends, _row_splits(texts, starts)


def characters(texts):
    """Where the characters that are not white space are: their starts and row splits, as for `words`."""
    starts = tf.where(~_is_space(texts.data) & ~_continues(texts.data))[:, 0]
    return starts, _row_splits(texts, starts)


def character_ends(texts, starts):
    """The positions behind characters, whose starts are int64 `(characters,)`; of the same shape."""
    # The last byte is a line break, which continues nothing.
    behind = tf.minimum(starts[:, None] + [1, 2, 3], tf.size(texts.data, tf.int64) - 1)
    continues = tf.cast(_continues(tf.gather(texts.data, behind)), tf.int64)
    return starts + 1 + tf.reduce_sum(tf.math.cumprod(continues, axis=1), axis=1)


def cut(texts, starts, ends):
    """What stands between positions in a `Joined`: int64 `(pieces,)` both -> string `(pieces,)`."""
    return tf.strings.substr(texts.string, starts, ends - starts)


def splice(texts, starts, ends, pieces):
    """The texts with other pieces in the place of what stands between some positions.

    A text without such a place is the same to the bit.

    Args:
        texts: a `Joined` of `n` texts.
        starts: where each place starts, int64 `(places,)`, in order; a place lies within one text.
        ends: where it ends, int64 `(places,)`, at most the next start. A place may be empty.
        pieces: what takes the place, string `(places,)`.

    Returns:
        string `(n,)`.
    """
    kept = cut(texts, tf.concat([[0], ends], axis=0), tf.concat([starts, tf.size(texts.data, tf.int64)[None]], axis=0))
    string = tf.strings.reduce_join(tf.reshape(tf.stack([kept, tf.concat([pieces, [""]], axis=0)], axis=1), [-1]))
    growth = tf.cumsum(tf.cast(tf.strings.length(pieces), tf.int64) - (ends - starts))
    growth = tf.concat([[0], growth], axis=0)
    first = texts.starts + tf.gather(growth, tf.searchsorted(starts, texts.starts))
    last = texts.ends + tf.gather(growth, tf.searchsorted(ends, texts.ends, side="right"))
    return tf.strings.substr(string, first, last - first)


_CLOSING = "\"'”’»›）」』】〉》〕］｝)\\]}"
_SPACE = "[ \\t\\n\\v\\f\\r]"
# Full-width marks end a sentence wherever they stand, the others where white space follows.
_FULL_WIDTH_END = f"([.!?…]*[。！？｡][.!?…。！？｡]*[{_CLOSING}]*){_SPACE}*"
_END = f"([.!?…][{_CLOSING}]*){_SPACE}+"
_LINE_BREAKS = f"{_SPACE}*[\\n\\v\\f\\r]{_SPACE}*"


def sentences(texts):
    """The sentences of each text: string `(n,)` -> ragged string `(n, None)`, without the white space around them.

    A sentence ends at a line break, after one of `. ! ? …` that white space follows, and after one of `。 ！ ？`.
    Quotation marks and brackets that close behind the mark belong to the sentence. Nothing is known of abbreviations.
    """
    lines = tf.strings.regex_replace(texts, _FULL_WIDTH_END, "\\1\n")
    lines = tf.strings.regex_replace(lines, _END, "\\1\n")
    lines = tf.strings.regex_replace(lines, _LINE_BREAKS, "\n")
    found = tf.strings.split(tf.strings.strip(lines), "\n")
    return tf.ragged.boolean_mask(found, found != "")


def _is_space(data):
    return (data == 32) | (data - 9 < 5)  # bytes wrap round below zero


def _continues(data):
    return tf.bitwise.bitwise_and(data, 0xC0) == 0x80


def _row_splits(texts, starts):
    """Number of the first element of each text, and that of all elements: int64 `(n + 1,)`."""
    bounds = tf.concat([texts.starts, tf.size(texts.data, tf.int64)[None]], axis=0)
    return tf.searchsorted(starts, bounds, out_type=tf.int64)
