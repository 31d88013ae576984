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
        breaks: positions of the line breaks, int64 `(n + 1,)`.
        starts: position of the first byte of each text, int64 `(n,)`.
        ends: position behind the last byte of each text, int64 `(n,)`.
    """

    string: tf.Tensor
    data: tf.Tensor
    breaks: tf.Tensor

    @property
    def starts(self):
        return self.breaks[:-1] + 1

    @property
    def ends(self):
        return self.breaks[1:]


def joined(texts):
    """The texts, string `(n,)`, as a `Joined`."""
    string = tf.strings.join(["", tf.strings.reduce_join(texts, separator="\n"), ""], separator="\n")
    lengths = tf.cast(tf.strings.length(texts), tf.int64)
    breaks = tf.cumsum(tf.concat([[0], lengths + 1], axis=0))
    return Joined(string, tf.io.decode_raw(string, tf.uint8), breaks)


def gaps(texts):
    """Where white space is.

    Args:
        texts: a `Joined`.

    Returns:
        Positions, int64 `(gaps,)`: between each and the next is a word, or nothing; and the row splits of what is
        between them, int64 `(n + 1,)`.
    """
    positions = _where(_is_space(texts.data))
    return positions, _first_not_below(positions, texts.breaks)


def words(texts):
    """Where the words are: what white space separates, punctuation included.

    Args:
        texts: a `Joined`.

    Returns:
        Position of the first byte of each word and the one behind its last, int64 `(words,)`, and the row splits, int64
        `(n + 1,)`: text `r` holds the words from `row_splits[r]` up to `row_splits[r + 1]`.
    """
    positions, _ = gaps(texts)
    starts, ends = positions[:-1] + 1, positions[1:]
    found = _where(starts < ends)
    starts, ends = tf.gather(starts, found), tf.gather(ends, found)
    return starts, ends, _first_not_below(starts, texts.breaks)


def characters(texts):
    """Where the characters that are not white space are: their starts and row splits, as for `words`."""
    starts = _where(~_is_space(texts.data) & ~_continues(texts.data))
    return starts, _first_not_below(starts, texts.breaks)


def character_ends(texts, starts):
    """The positions behind characters, whose starts are int64 `(characters,)`; of the same shape."""
    last = tf.size(texts.data, tf.int64) - 1  # a line break, which continues nothing
    ends, continues = starts + 1, True
    for _ in range(3):
        continues &= _continues(tf.gather(texts.data, tf.minimum(ends, last)))
        ends += tf.cast(continues, tf.int64)
    return ends


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
    # With the pieces behind the texts, all parts are cut out of one string, in order, and copied once less.
    size, lengths = tf.size(texts.data, tf.int64), tf.cast(tf.strings.length(pieces), tf.int64)
    source = tf.strings.join([texts.string, tf.strings.reduce_join(pieces)])
    piece_ends = size + tf.cumsum(lengths)
    part_starts = tf.concat([[0], tf.reshape(tf.stack([piece_ends - lengths, ends], axis=1), [-1])], axis=0)
    part_ends = tf.concat([tf.reshape(tf.stack([starts, piece_ends], axis=1), [-1]), [size]], axis=0)
    string = tf.strings.reduce_join(tf.strings.substr(source, part_starts, part_ends - part_starts))
    growth = tf.concat([[0], tf.cumsum(lengths - (ends - starts))], axis=0)
    # A place at the very end of a text starts where the line break is.
    breaks = texts.breaks + tf.gather(growth, _first_not_below(starts, texts.breaks + 1))
    return tf.strings.substr(string, breaks[:-1] + 1, breaks[1:] - breaks[:-1] - 1)


_CLOSING = "\"'”’»›）」』】〉》〕］｝)\\]}"
_SPACE = "[ \\t\\n\\v\\f\\r\u00a0\u3000]"
# Full-width marks end a sentence wherever they stand, the others where white space follows; then quotation marks that
# open in one language close in another.
_FULL_WIDTH_END = f"([.!?…]*[。！？｡][.!?…。！？｡]*[{_CLOSING}]*){_SPACE}*"
_END = f"([.!?…][{_CLOSING}“‘«‹]*){_SPACE}+"
_LINE_BREAK = f"{_SPACE}*[\\n\\v\\f\\r]{_SPACE}*"


def sentences(texts):
    """The sentences of each text: string `(n,)` -> ragged string `(n, None)`, without the white space around them.

    A sentence ends at a line break, after one of `. ! ? …` that white space follows, and after one of `。 ！ ？`.
    Quotation marks and brackets that close behind the mark belong to the sentence. No-break and full-width spaces are
    white space here. Nothing is known of abbreviations.
    """
    lines = tf.strings.regex_replace(texts, f"{_FULL_WIDTH_END}|{_END}|{_LINE_BREAK}", "\\1\\2\n")
    found = tf.strings.split(tf.strings.strip(lines), "\n")
    return tf.ragged.boolean_mask(found, found != "")


def _is_space(data):
    return (data == 32) | (data - 9 < 5)  # bytes wrap round below zero


def _continues(data):
    return tf.bitwise.bitwise_and(data, 0xC0) == 0x80


def _where(mask):
    """The numbers of the elements that are true: bool `(elements,)` -> int64 `(true,)`."""
    return tf.reshape(tf.where(mask), [-1])


def _first_not_below(ascending, values):
    """Number of the first element that is not below each value, as by `tf.searchsorted`, which takes ten operations."""
    found = tf.raw_ops.LowerBound(sorted_inputs=ascending[None], values=values[None], out_type=tf.int64)
    return tf.reshape(found, [-1])
