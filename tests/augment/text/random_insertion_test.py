import collections

import pytest
import scipy.stats
import tensorflow as tf

from keras_consistency.augment import text

LEXICON = {"film": ["movie", "picture", "moving image"], "Good": ["fine", "nice"], "영화는": ["작품은"], "in": ["inch"]}
SEED = tf.constant([3, 4])


def views(whole, count=1, *, lexicon=LEXICON, **kwargs):
    layer = text.RandomInsertion(lexicon, **kwargs)
    return [view.decode() for view in layer(tf.constant([whole] * count), seed=SEED).numpy()]


def test_strength_one_inserts_a_synonym_for_each_word_of_the_lexicon():
    whole = "“Good!” it is\ta  (Film), 이 영화는 in\nfilms FILM"
    inserted = set()
    for view in views(whole, 200, strength=1.0):
        rest = view.replace("moving image", "moving-image").split()
        for word in reversed(whole.split()):  # what is left of the view, as words never change their order
            last = len(rest) - 1 - rest[::-1].index(word)
            rest.pop(last)
        assert len(rest) == 5
        inserted.update(rest)
        assert sum(word in ("movie", "picture", "moving-image") for word in rest) == 2
        assert sum(word in ("fine", "nice") for word in rest) == 1
        assert "작품은" in rest and "inch" in rest
    assert inserted == {"movie", "picture", "moving-image", "fine", "nice", "작품은", "inch"}


def test_white_space_stays_and_one_space_goes_with_each_insertion():
    whole = "  a \t film\n\nis  good\n"
    for view in views(whole, 50, lexicon={"film": ["X"]}, strength=1.0):
        assert whole in {view.replace("X ", "", 1), view.replace(" X", "", 1)}
        assert len(view) == len(whole) + 2


def test_every_place_is_equally_likely():
    places = [
        view.split().index("X") for view in views(" a film\tthat runs", 5000, lexicon={"film": ["X"]}, strength=1.0)
    ]
    counts = collections.Counter(places)
    assert sorted(counts) == [0, 1, 2, 3, 4]
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_places_and_synonyms_of_two_words_are_drawn_apart():
    found = collections.Counter(views("a b", 12_000, lexicon={"a": ["X"], "b": ["Y", "Z"]}, strength=1.0))
    # Both are put before `a`, before `b` or behind it; in one place they stand in the order of the words.
    assert len(found) == 18 and scipy.stats.chisquare(list(found.values())).pvalue > 1e-3


@pytest.mark.parametrize("strength", [0.05, 0.6])
def test_strength_is_the_share_of_words_whose_synonym_is_inserted(strength):
    words = " ".join(views("film " * 100, 100, lexicon={"film": ["X"]}, strength=strength)).split()
    assert scipy.stats.binomtest(words.count("X"), 10_000, strength).pvalue > 1e-3


def test_stop_words_and_capitals():
    assert views("IN", strength=1.0)[0] in {"inch IN", "IN inch"}
    assert views("In", stop_words=["in"], strength=1.0) == ["In"]
    assert views("Film", lexicon={"film": ["movie"]}, strength=1.0)[0] in {"movie Film", "Film movie"}


def test_texts_do_not_mix():
    layer = text.RandomInsertion({"a": ["X"], "b": ["Y"]}, strength=1.0)
    batch = tf.constant(["a", "", "b", " ", "a a"] * 40)
    for whole, view in zip(batch.numpy(), layer(batch, seed=SEED).numpy(), strict=True):
        assert view.count(b"X") == whole.count(b"a") and view.count(b"Y") == whole.count(b"b")


def test_config_keeps_the_lexicon():
    config = text.RandomInsertion(LEXICON, stop_words=["in"], strength=0.2).get_config()
    assert config["lexicon"] == LEXICON and config["stop_words"] == ["in"]
    again = text.RandomInsertion.from_config(config)
    assert again.get_config() == config
    assert again(tf.constant(["film in"] * 30), seed=SEED).numpy().tolist() == [
        view.encode() for view in views("film in", 30, stop_words=["in"], strength=0.2)
    ]
