import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.ops import text

TEXTS = [
    b"one two",
    b"",
    b" \t\n ",
    "  저는\t학생입니다!\r\n네…  ".encode(),
    b"a\x00b \xff\xfe \xe3\x80",
    b"x",
    "\u00a0no\u3000break".encode(),
]
SPACE = b" \t\n\v\f\r"


def spans(data):
    """Words by the definition, one byte at a time."""
    found, start = [], None
    for position, byte in enumerate([*data, 32]):
        if byte in SPACE and start is not None:
            found.append((start, position))
            start = None
        elif byte not in SPACE and start is None:
            start = position
    return found


def decoded(values):
    return [value.decode("utf-8", "surrogateescape") for value in values]


def test_joined_knows_where_each_text_is():
    joined = text.joined(tf.constant(TEXTS))
    assert bytes(joined.data.numpy()) == joined.string.numpy()
    places = zip(joined.starts.numpy(), joined.ends.numpy(), strict=True)
    assert [joined.string.numpy()[start:end] for start, end in places] == TEXTS


def test_words_are_what_ascii_white_space_separates():
    joined = text.joined(tf.constant(TEXTS))
    starts, ends, row_splits = text.words(joined)
    expected = [[each[s:e] for s, e in spans(each)] for each in TEXTS]
    assert text.cut(joined, starts, ends).numpy().tolist() == sum(expected, [])
    np.testing.assert_array_equal(row_splits, np.cumsum([0, *map(len, expected)]))
    assert expected[3] == [each.encode() for each in ("저는", "학생입니다!", "네…")]


def test_gaps_are_where_white_space_is_and_words_lie_between_them():
    joined = text.joined(tf.constant(TEXTS))
    positions, row_splits = text.gaps(joined)
    found = text.cut(joined, positions[:-1] + 1, positions[1:]).numpy().tolist()
    rows = [found[start:end] for start, end in zip(row_splits[:-1].numpy(), row_splits[1:].numpy(), strict=True)]
    expected = [bytes(32 if byte in SPACE else byte for byte in each).split(b" ") for each in TEXTS]
    assert rows == expected and sum(rows, []) == found


def test_characters_are_those_of_utf_8():
    joined = text.joined(tf.constant(TEXTS))
    starts, row_splits = text.characters(joined)
    found = text.cut(joined, starts, text.character_ends(joined, starts)).numpy().tolist()
    expected = [
        [bytes([byte]) for byte in each if byte not in SPACE]
        if each == TEXTS[4]
        else [character.encode() for character in each.decode() if character not in " \t\n\r"]
        for each in TEXTS
    ]
    expected[4][-2:] = [b"\xe3\x80"]  # a character that breaks off
    assert found == sum(expected, [])
    np.testing.assert_array_equal(row_splits, np.cumsum([0, *map(len, expected)]))


@pytest.mark.parametrize("character", ["a", "é", "한", "😀"])
def test_characters_of_one_to_four_bytes_end_where_they_end(character):
    joined = text.joined(tf.constant([character * 3]))
    starts, _ = text.characters(joined)
    assert text.cut(joined, starts, text.character_ends(joined, starts)).numpy().tolist() == [character.encode()] * 3


def test_stray_bytes_end_a_character_after_three_and_at_the_end_of_a_text():
    joined = text.joined(tf.constant([b"a" + 5 * b"\x80", b"\x80"]))
    starts, row_splits = text.characters(joined)
    assert text.cut(joined, starts, text.character_ends(joined, starts)).numpy().tolist() == [b"a\x80\x80\x80"]
    np.testing.assert_array_equal(row_splits, [0, 1, 1])


class TestSplice:
    def test_puts_pieces_in_the_place_of_words(self):
        joined = text.joined(tf.constant(TEXTS))
        starts, ends, _ = text.words(joined)
        expected = []
        for each in TEXTS:
            parts, last = [], 0
            for start, end in spans(each):
                parts += [each[last:start], b"<%d>" % (end - start)]
                last = end
            expected.append(b"".join([*parts, each[last:]]))
        pieces = tf.strings.join(["<", tf.strings.as_string(ends - starts), ">"])
        assert text.splice(joined, starts, ends, pieces).numpy().tolist() == expected

    def test_inserts_at_empty_places_at_either_end_of_a_text(self):
        joined = text.joined(tf.constant(["ab", "", "c"]))
        places = tf.concat([joined.starts[:1], joined.ends[:1], joined.starts[1:2], joined.starts[2:]], axis=0)
        found = text.splice(joined, places, places, tf.constant(["<", ">", "empty", "!"]))
        assert found.numpy().tolist() == [b"<ab>", b"empty", b"!c"]

    def test_takes_places_that_touch(self):
        joined = text.joined(tf.constant(["abc"]))
        starts = joined.starts[0] + [0, 1, 2]
        assert text.splice(joined, starts, starts + 1, tf.constant(["", "xyz", ""])).numpy().tolist() == [b"xyz"]

    def test_without_a_place_every_text_is_the_same(self):
        joined, none = text.joined(tf.constant(TEXTS)), tf.zeros([0], tf.int64)
        assert text.splice(joined, none, none, tf.zeros([0], tf.string)).numpy().tolist() == TEXTS

    def test_empty_batch(self):
        joined, none = text.joined(tf.zeros([0], tf.string)), tf.zeros([0], tf.int64)
        assert text.splice(joined, none, none, tf.zeros([0], tf.string)).shape == (0,)
        assert [each.shape[0] for each in text.words(joined)] == [0, 0, 1]
        assert [each.shape[0] for each in text.characters(joined)] == [0, 1]


@pytest.mark.parametrize(
    ("whole", "expected"),
    [
        ("See it. Twice! Why?  Ask.", ["See it.", "Twice!", "Why?", "Ask."]),
        ("No end", ["No end"]),
        ("Wait... what?! Yes", ["Wait...", "what?!", "Yes"]),
        ('He said "Go." (Really?) Then', ['He said "Go."', "(Really?)", "Then"]),
        ("“Go!” ‘No.’ »So.« „Nie!“ end", ["“Go!”", "‘No.’", "»So.«", "„Nie!“", "end"]),
        ("Pi is 3.14, see x.y and a.b@c.d", ["Pi is 3.14, see x.y and a.b@c.d"]),
        ("Mr. Smith", ["Mr.", "Smith"]),
        ("a title\nits text\r\n\r\nmore", ["a title", "its text", "more"]),
        (
            "안녕하세요. 저는 학생입니다! 그렇죠?\n네… 좋아요.",
            ["안녕하세요.", "저는 학생입니다!", "그렇죠?", "네…", "좋아요."],
        ),
        ("“정말 재미있다.” 그가 말했다.", ["“정말 재미있다.”", "그가 말했다."]),
        ("그는 '싫어!' 하고 갔다.", ["그는 '싫어!'", "하고 갔다."]),
        ("버전 2.0은 1,000원입니다. 끝", ["버전 2.0은 1,000원입니다.", "끝"]),
        ("他说：“好。”然后走了。再见！", ["他说：“好。”", "然后走了。", "再见！"]),
        ("「行く？」と聞いた。\u3000はい。", ["「行く？」", "と聞いた。", "はい。"]),
        ("정말！？네", ["정말！？", "네"]),
        ("Hi.\u00a0There", ["Hi.", "There"]),
        ("  . ", ["."]),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_sentences(whole, expected):
    assert decoded(text.sentences(tf.constant([whole]))[0].numpy()) == expected


def test_sentences_of_bytes_that_are_not_utf_8():
    found = text.sentences(tf.constant([b"\xff\xfe. a\xe3\x80. \x80b", b"c. d"]))
    assert found.to_list() == [[b"\xff\xfe.", b"a\xe3\x80.", b"\x80b"], [b"c.", b"d"]]
