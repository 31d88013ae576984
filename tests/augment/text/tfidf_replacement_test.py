import collections
import math

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_consistency.augment import text

SEED = tf.constant([3, 4])
VOCABULARY = ["the", "film", "a", "good", "plot", "영화", "boring", "zither"]
FREQUENCIES = [50, 20, 40, 9, 6, 5, 4, 1]
IDF = [0.1, 0.5, 0.2, 1.0, 1.4, 1.6, 1.9, 3.2]
REVIEW = "The film, the (good) film — a zither! A film; the plot: 영화 unseen the"


def make(**kwargs):
    return text.TfIdfReplacement(**{"vocabulary": VOCABULARY, "frequencies": FREQUENCIES, "idf": IDF} | kwargs)


def bare(word):
    return word.strip("—-,;:.!()“”").lower()


def probabilities(whole, strength):
    """The equation of the paper, one word at a time."""
    words = [bare(word) for word in whole.split() if bare(word)]
    idf = dict(zip(VOCABULARY, IDF, strict=True))
    tfidf = [words.count(word) / len(words) * idf.get(word, max(IDF)) for word in words]
    highest = max(tfidf)
    total = sum(highest - value for value in tfidf) / len(words)
    return [min(strength * (highest - value) / total, 1) if total else 0 for value in tfidf]


def chances():
    """With which probability each word of the vocabulary is drawn."""
    scores = [frequency * idf for frequency, idf in zip(FREQUENCIES, IDF, strict=True)]
    total = sum(max(scores) - score for score in scores)
    return {word: (max(scores) - score) / total for word, score in zip(VOCABULARY, scores, strict=True)}


def views(whole, count, **kwargs):
    return [view.decode() for view in make(**kwargs)(tf.constant([whole] * count), seed=SEED).numpy()]


@pytest.mark.parametrize("strength", [0.05, 0.4, 1.0])
def test_words_are_replaced_as_often_as_the_paper_has_it(strength):
    count, drawn = 4000, chances()
    found = [view.split() for view in views(REVIEW, count, strength=strength)]
    expected = iter(probabilities(REVIEW, strength))
    for position, old in enumerate(REVIEW.split()):
        changed = sum(words[position] != old for words in found)
        # A word that is replaced by itself does not show.
        chance = next(expected) * (1 - drawn.get(bare(old), 0)) if bare(old) else 0.0
        if chance in (0.0, 1.0):
            assert changed == count * chance
        else:
            assert scipy.stats.binomtest(changed, count, chance).pvalue > 1e-3
    if strength == 1.0:
        assert max(probabilities(REVIEW, strength)) == 1.0  # where the minimum of the equation counts


def test_about_the_strength_of_all_words_is_replaced_and_the_rarest_stays():
    words = "the film a good plot boring zither the a film".split()
    for strength in (0.1, 0.5):
        assert sum(probabilities(" ".join(words), strength)) == pytest.approx(strength * len(words))
    assert all("zither" in view.split()[6] for view in views(" ".join(words), 300, strength=1.0))


def test_drawn_words_follow_the_vocabulary():
    found = [view.split()[0] for view in views("the zither", 8000, strength=0.5)]
    counts = collections.Counter(found)
    expected = chances()
    assert set(counts) == {word for word, chance in expected.items() if chance > 0} and expected["film"] == 0
    observed = [counts[word] for word in expected if expected[word] > 0]
    assert scipy.stats.chisquare(observed, [8000 * chance for chance in expected.values() if chance > 0]).pvalue > 1e-3


def test_choice_and_word_are_drawn_apart():
    pairs = collections.Counter(
        tuple(view.split()[:2]) for view in views("the the zither zither zither", 9000, strength=1.0)
    )
    table = [[pairs[one, two] for two in VOCABULARY if two != "film"] for one in VOCABULARY if one != "film"]
    assert sum(map(sum, table)) == 9000 and scipy.stats.chi2_contingency(table).pvalue > 1e-3


def test_punctuation_capitals_and_white_space_stay():
    for view in views("  “The,”\n\t- THE ... zither zither \v zither", 200, strength=1.0):
        first = view.split("“")[1].split(",")[0]
        assert view == f"  “{first},”\n\t- {view.split()[2]} ... zither zither \v zither"
        for word in (first, view.split()[2]):
            assert word in [each[:1].upper() + each[1:] for each in VOCABULARY]


@pytest.mark.parametrize("whole", ["", " \n", "zither", "the the the", "... -", "a A, (a)"])
def test_text_whose_words_are_all_alike_stays(whole):
    assert views(whole, 20, strength=1.0) == [whole] * 20


def test_bytes_that_are_not_utf_8_are_words_like_others():
    whole = b"\xff\xfe the \x80 zither zither \xe3\x80,"
    found = {view for view in make(strength=1.0)(tf.constant([whole] * 50), seed=SEED).numpy()}
    assert len(found) > 3
    for view in found:
        assert all(
            word == old or word.decode() in VOCABULARY for word, old in zip(view.split(), whole.split(), strict=True)
        )


def test_vocabulary_of_one_word():
    layer = text.TfIdfReplacement(vocabulary=["the"], frequencies=[3], idf=[0.2], strength=1.0)
    assert layer(tf.constant(["a a b"]), seed=SEED).numpy().tolist() == [b"a a the"]


class TestFromTexts:
    TEXTS = ["The film, the plot.", "a “Film” 영화", "- the A!", "", "été ÉTÉ \t film"]

    def test_counts_words_and_texts(self):
        config = text.TfIdfReplacement.from_texts(self.TEXTS, strength=0.3, seed=2).get_config()
        words = [[bare(word) for word in whole.split() if bare(word)] for whole in self.TEXTS]
        counts = collections.Counter(sum(words, []))
        assert dict(zip(config["vocabulary"], config["frequencies"], strict=True)) == counts
        assert config["frequencies"] == sorted(counts.values(), reverse=True)
        idf = [math.log(5 / sum(word in each for each in words)) for word in config["vocabulary"]]
        assert config["idf"] == pytest.approx(idf)
        assert config["strength"] == 0.3 and config["seed"] == 2

    @pytest.mark.parametrize(
        "texts",
        [
            np.array(TEXTS),
            np.array([each.encode() for each in TEXTS], dtype=object)[:, None],
            tf.constant(TEXTS),
            tf.data.Dataset.from_tensor_slices(TEXTS),
            tf.data.Dataset.from_tensor_slices(TEXTS).batch(2),
            tf.data.Dataset.from_tensor_slices(np.array(TEXTS)[:, None]),
        ],
    )
    def test_arrays_and_data_sets_are_the_same(self, texts):
        expected = text.TfIdfReplacement.from_texts(self.TEXTS, name="one").get_config()
        assert text.TfIdfReplacement.from_texts(texts, name="one").get_config() == expected

    def test_keeps_the_most_frequent_words(self):
        config = text.TfIdfReplacement.from_texts(self.TEXTS, max_words=2).get_config()
        assert set(config["vocabulary"]) == {"the", "film"} and config["idf"] == pytest.approx(
            [math.log(5 / 2), math.log(5 / 3)]
        )

    def test_what_is_not_utf_8_is_not_in_the_vocabulary(self):
        texts = tf.constant([b"film \xff\xfe film", "\ufffd film".encode()])
        assert text.TfIdfReplacement.from_texts(texts).vocabulary == ["film"]

    @pytest.mark.parametrize(
        "texts", [np.zeros([3]), tf.data.Dataset.from_tensors((["a"], [1])), tf.data.Dataset.range(3)]
    )
    def test_other_than_strings(self, texts):
        with pytest.raises(TypeError, match="`texts` must be strings.*Received: elements of"):
            text.TfIdfReplacement.from_texts(texts)

    @pytest.mark.parametrize("texts", [[""], ["... -", " "], tf.zeros([0], tf.string)])
    def test_without_a_word(self, texts):
        with pytest.raises(ValueError, match="`texts` must hold at least one word"):
            text.TfIdfReplacement.from_texts(texts)

    @pytest.mark.parametrize("max_words", [0, -1, 1.5, "2"])
    def test_max_words(self, max_words):
        with pytest.raises(ValueError, match="`max_words` must be an integer of at least 1"):
            text.TfIdfReplacement.from_texts(self.TEXTS, max_words=max_words)


def test_config_holds_the_vocabulary():
    layer = make(strength=0.3, seed=2)
    config = layer.get_config()
    assert (config["vocabulary"], config["frequencies"], config["idf"]) == (VOCABULARY, FREQUENCIES, IDF)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert restored.get_config() == config
    batch = tf.constant([REVIEW] * 20)
    assert restored(batch).numpy().tolist() == layer(batch).numpy().tolist()


class TestBadInput:
    @pytest.mark.parametrize("vocabulary", [[], "the", None, ["the", ""], ["the", 3]])
    def test_vocabulary(self, vocabulary):
        with pytest.raises(ValueError, match="`vocabulary` must be a list of at least one word.*from_texts.*Received"):
            make(vocabulary=vocabulary)

    def test_repeated_words(self):
        with pytest.raises(ValueError, match="`vocabulary` must have each word once. Received: 'a' more than once"):
            make(vocabulary=["a", *VOCABULARY[1:]])

    @pytest.mark.parametrize("name", ["frequencies", "idf"])
    @pytest.mark.parametrize(
        "values", [[], [1.0] * 7, 3, None, [1.0] * 7 + [-1], [1.0] * 7 + ["1"], [math.nan] * 8, [math.inf] * 8]
    )
    def test_numbers(self, name, values):
        with pytest.raises(ValueError, match=f"`{name}` must be a list of numbers .*of the 8 words.*Received: {name}="):
            make(**{name: values})

    def test_zero(self):
        with pytest.raises(ValueError, match="`frequencies` must be a list of numbers above 0"):
            make(frequencies=[0] * 8)
        make(idf=[0] * 8)
