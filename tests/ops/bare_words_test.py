import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.ops import bare_words, text

WORDS = [
    "good",
    "“Good!”",
    "(it's)",
    "1,000원입니다.",
    "$5+",
    "—",
    "?!…",
    "«É»",
    "。영화！",
    "a",
    "é",
    "😀film😀",
    "x_y_",
    "̀a",
    "Ĳ",
]


def strip(word):
    """By the general categories of Unicode."""
    while word and unicodedata.category(word[0])[0] in "PS":
        word = word[1:]
    while word and unicodedata.category(word[-1])[0] in "PS":
        word = word[:-1]
    return word


def test_punctuation_and_symbols_around_words_are_left_out():
    joined = text.joined(tf.constant([" ".join(WORDS), "", "!a!"]))
    starts, ends, _ = text.words(joined)
    found = text.cut(joined, *bare_words.strip(joined, starts, ends)).numpy()
    assert [each.decode() for each in found] == [strip(word) for word in [*WORDS, "!a!"]]


def test_bytes_that_are_not_utf_8_are_no_punctuation():
    joined = text.joined(tf.constant([b"!\xff! \x80 .\xe3\x80. \xe3\x80\x81a"]))
    starts, ends, _ = text.words(joined)
    found = text.cut(joined, *bare_words.strip(joined, starts, ends)).numpy().tolist()
    assert found == [b"\xff", b"\x80", b"\xe3\x80", b"a"]


def test_empty_places_stay_empty():
    joined = text.joined(tf.constant(["a  b"]))
    place = joined.starts + 2
    np.testing.assert_array_equal(bare_words.strip(joined, place, place), [place, place])
    none = tf.zeros([0], tf.int64)
    assert [each.shape for each in bare_words.strip(joined, none, none)] == [(0,), (0,)]


def test_lower_case_of_every_script():
    words = ["GOOD", "ÉTÉ", "Фильм", "ΟΔΟΣ", "영화", "naÏve", "", "ÀB" * 40]
    found = [each.decode() for each in bare_words.lower(tf.constant(words)).numpy()]
    assert found == [word.lower() for word in words]
    assert bare_words.lower(tf.zeros([0], tf.string)).shape == (0,)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("Film", True), ("FILM", True), ("É", True), ("Фильм", True), ("film", False), ("iPhone", False), ("영화", False)]
    + [("1A", False), ("", False), (b"\x80A", False), (b"A\xff", False)],
)
def test_capitals(word, expected):
    assert bare_words.is_capitalized(tf.constant([word])).numpy() == [expected]
