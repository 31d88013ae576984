import collections
import pathlib
import unicodedata

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_consistency.augment import text

OWN = pathlib.Path(__file__).parent / "lexicon.tsv"
LEXICON = text.read_lexicon(OWN)
SEED = tf.constant([3, 4])
REVIEW = (
    "A good, (very!) funny film; I really like it.  Nothing is dull,\n\tand “Great Music” plays. It's good-looking: "
    "GREAT, Really! 정말 좋은 영화였다. “훌륭한” 배우들이 말했다… 다시?! - * 100% end."
)


def parts(word):
    """What stands before a word, the word and what stands behind it, by the general categories of Unicode."""
    outside = [unicodedata.category(character)[0] in "PS" for character in word]
    if all(outside):
        return word, "", ""
    start, end = outside.index(False), len(word) - outside[::-1].index(False)
    return word[:start], word[start:end], word[end:]


def alternatives(word):
    """What a word may become, by the definition."""
    before, bare, behind = parts(word)
    for form in (str, str.capitalize, str.upper):
        if bare and bare == form(bare.lower()):
            found = LEXICON.get(bare.lower(), [])
            return {before + form(each) + behind for each in found}
    return set()


def views(whole, count=1, *, lexicon=LEXICON, seed=SEED, **kwargs):
    layer = text.SynonymReplacement(lexicon, **kwargs)
    return [view.decode() for view in layer(tf.constant([whole] * count), seed=seed).numpy()]


def test_words_of_the_lexicon_become_their_synonyms_and_nothing_else_changes():
    seen = collections.defaultdict(set)
    for view in views(REVIEW, 400, strength=0.5):
        assert [a for a in view if a.isspace()] == [a for a in REVIEW if a.isspace()]
        for position, (old, new) in enumerate(zip(REVIEW.split(), view.split(), strict=True)):
            if new != old:
                seen[position].add(new)
    expected = {position: alternatives(word) for position, word in enumerate(REVIEW.split()) if alternatives(word)}
    assert seen == expected and len(expected) == 18
    assert {"“훌륭한”", "GREAT,", "(very!)", "“Great", "end."} <= {REVIEW.split()[position] for position in expected}


def test_strength_one_replaces_every_word_of_the_lexicon():
    for view in views(REVIEW, 20, strength=1.0):
        for old, new in zip(REVIEW.split(), view.split(), strict=True):
            assert (new in alternatives(old)) if alternatives(old) else new == old


@pytest.mark.parametrize("strength", [0.02, 0.3, 0.9])
def test_strength_is_the_share_of_words_that_is_replaced(strength):
    found = " ".join(views("film " * 200, 100, lexicon={"film": ["movie"]}, strength=strength)).split()
    changed = found.count("movie")
    assert scipy.stats.binomtest(changed, 20_000, strength).pvalue > 1e-3


@pytest.mark.parametrize("strength", [0.001, 0.2, 1.0])
def test_synonyms_are_equally_likely_whatever_the_strength(strength):
    synonyms = [f"word{number}" for number in range(7)]
    words = " ".join(views("film " * 2000, 200, lexicon={"film": synonyms}, strength=strength)).split()
    counts = [count for word, count in collections.Counter(words).items() if word != "film"]
    assert len(counts) == 7 and scipy.stats.chisquare(counts).pvalue > 1e-3


def test_choice_and_synonym_are_drawn_apart():
    words = [view.split() for view in views("film film", 6000, lexicon={"film": ["a", "b"]}, strength=0.5)]
    pairs = collections.Counter(map(tuple, words))
    chances = [(2 if one == "film" else 1) * (2 if two == "film" else 1) / 16 for one, two in pairs]
    assert len(pairs) == 9
    assert scipy.stats.chisquare(list(pairs.values()), np.multiply(chances, 6000)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("film", "movie"),
        ("Film", "Movie"),
        ("FILM", "MOVIE"),
        ("fILM", "fILM"),
        ("film's", "film's"),
        ("«Film»", "«Movie»"),
        ("…film。", "…movie。"),
        ("$film+", "$movie+"),
        ("film_", "movie_"),
        ("é", "è"),
        ("É!", "È!"),
        ("ÉTÉ", "SAISON CHAUDE"),
        ("été", "saison chaude"),
        ("Été,", "Saison chaude,"),
        ("straße", "gasse"),
        ("STRASSE", "GASSE"),
        ("ФИЛЬМ!", "КИНО!"),
        ("영화", "작품"),
        ("(영화)", "(작품)"),
        ("영화는", "영화는"),
        ("映画。", "作品。"),
        ("i", "me"),
        ("I", "Me"),
        ("!?", "!?"),
    ],
)
def test_case_and_punctuation_of_every_script(word, expected):
    lexicon = {
        "Film": ["movie"],
        "été": ["saison chaude"],
        "é": ["è"],
        "straße": ["gasse"],
        "фильм": ["кино"],
        "영화": ["작품"],
        "映画": ["作品"],
        "i": ["me"],
    }
    assert views(word, lexicon=lexicon, strength=1.0) == [expected]
    assert views(f" {word}\n{word} x", lexicon=lexicon, strength=1.0) == [f" {expected}\n{expected} x"]


def test_bytes_that_are_not_utf_8_stay_and_keep_nothing_from_being_replaced():
    whole = b"film \xff film\x80 \xe3\x80film film, \x80\x80\x80 film"
    layer = text.SynonymReplacement({"film": ["movie"]}, strength=1.0)
    assert layer(tf.constant([whole])).numpy().tolist() == [
        b"movie \xff film\x80 \xe3\x80film movie, \x80\x80\x80 movie"
    ]


def test_stop_words_are_left_alone():
    lexicon = {"in": ["inch"], "film": ["movie"]}
    assert views("In a film", lexicon=lexicon, strength=1.0) == ["Inch a movie"]
    assert views("In a film", lexicon=lexicon, stop_words=text.ENGLISH_STOP_WORDS, strength=1.0) == ["In a movie"]


class TestConfig:
    def test_path_stays_a_path(self):
        layer = text.SynonymReplacement(OWN, stop_words=("the",))
        assert layer.get_config()["lexicon"] == str(OWN) and layer.get_config()["stop_words"] == ["the"]
        assert (
            keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)).get_config()
            == layer.get_config()
        )

    def test_path_is_read_again(self, tmp_path):
        path = tmp_path / "mine.tsv"
        path.write_text("film\tmovie\n")
        config = text.SynonymReplacement(path, strength=1.0).get_config()
        path.write_text("film\tpicture\n")
        assert text.SynonymReplacement.from_config(config)(tf.constant(["film"])).numpy() == [b"picture"]
        path.unlink()
        with pytest.raises(TypeError, match="(?s)Error when deserializing.*There is none at .*mine.tsv"):  # Keras's own
            text.SynonymReplacement.from_config(config)

    def test_mapping_is_inside(self):
        lexicon = {"Film": ["movie"], "class_name": ["config"]}
        layer = text.SynonymReplacement(lexicon, strength=1.0)
        config = layer.get_config()
        assert config["lexicon"] == lexicon and type(config["lexicon"]) is dict
        restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert restored.get_config() == config
        assert restored(tf.constant(["a Film"])).numpy() == [b"a Movie"]

    def test_saved_model_needs_no_file(self, tmp_path):
        path = tmp_path / "mine.tsv"
        path.write_text("film\tmovie\n")
        module = tf.Module()
        module.layer = text.SynonymReplacement(path, strength=1.0)
        signature = [tf.TensorSpec([None], tf.string)]
        module.view = tf.function(
            lambda batch: module.layer(batch, training=True, seed=SEED), input_signature=signature
        )
        tf.saved_model.save(module, tmp_path / "saved")
        path.unlink()
        assert tf.saved_model.load(tmp_path / "saved").view(tf.constant(["a film"])).numpy() == [b"a movie"]


@pytest.mark.parametrize("layer", [text.SynonymReplacement, text.RandomInsertion])
class TestBadInput:
    def test_lexicon(self, layer, tmp_path):
        with pytest.raises(FileNotFoundError, match="There is none at"):
            layer(tmp_path / "nil")
        with pytest.raises(TypeError, match="`lexicon` must be a path, or a dictionary"):
            layer(None)
        with pytest.raises(ValueError, match="`lexicon` must have a word"):
            layer({})
        (tmp_path / "bad").write_text("good\tfine\nbad")
        with pytest.raises(ValueError, match="bad, line 2: it has no tab"):
            layer(tmp_path / "bad")

    def test_stop_words(self, layer):
        with pytest.raises(TypeError, match="`stop_words` must be a list of words"):
            layer({"good": ["fine"]}, stop_words="good")
