"""What the layers without a lexicon write, against their definition in plain Python on the same draws."""

import collections
import re

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_consistency.augment import text
from keras_consistency.ops import random

SEED = tf.constant([3, 4], tf.int64)
# A text of words of their own, so that it can be told where each went.
NUMBERS = " ".join(f"w{number}" for number in range(12))
TEXTS = [
    "A good film, and a happy end! We saw it twice. Would you see it again? Yes: it is very good.",
    " 이 영화는  정말 좋은 이야기였다.\t배우들이 “훌륭한 영화다!”라고\n말했다… 다시 볼까요? 네. ",
    "",
    "one",
    " \n",
    *[NUMBERS] * 20,
    "nul\x00 a\u0301 😀😀 end",
]
STRENGTHS = [0.05, 0.3, 0.7, 1.0]
WORD = re.compile(r"[^ \t\n\v\f\r]+")


def draws(counts, draw=0):
    """Uniform draws of each element of each text, as lists."""
    seeds = random.row_seeds(SEED, len(counts))
    splits = np.cumsum([0, *counts])
    flat = random.ragged_uniform(seeds, tf.constant(splits, tf.int64), draw).numpy()
    return [flat[start:end].tolist() for start, end in zip(splits, splits[1:], strict=False)]


def views(layer, texts=TEXTS, seed=SEED):
    return [view.decode() for view in layer(tf.constant(texts), seed=seed).numpy()]


def rebuilt(whole, pieces):
    """The text with the pieces in the place of its words."""
    pieces = iter(pieces)
    return WORD.sub(lambda _: next(pieces), whole)


def shuffled(items, chosen, keys):
    """The items, the chosen ones among them in the order of their keys."""
    order = iter(sorted(chosen, key=lambda item: keys[item]))
    return [items[next(order)] if item in chosen else items[item] for item in range(len(items))]


def chosen_of(row, strength):
    return [number for number, draw in enumerate(row) if draw < strength]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_token_masking(strength):
    words = [WORD.findall(each) for each in TEXTS]
    expected = [
        rebuilt(whole, ["<m>" if draw < strength else word for word, draw in zip(found, row, strict=True)])
        for whole, found, row in zip(TEXTS, words, draws([len(found) for found in words]), strict=True)
    ]
    assert views(text.TokenMasking(strength=strength, mask="<m>")) == expected
    assert strength < 1.0 or expected[0] == " ".join(["<m>"] * 21)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_word_swap(strength):
    words = [WORD.findall(each) for each in TEXTS]
    counts = [len(found) for found in words]
    expected = [
        rebuilt(whole, shuffled(found, chosen_of(row, strength), keys))
        for whole, found, row, keys in zip(TEXTS, words, draws(counts), draws(counts, 1), strict=True)
    ]
    found = views(text.WordSwap(strength=strength))
    assert found == expected
    for whole, view in zip(TEXTS, found, strict=True):
        assert collections.Counter(WORD.findall(view)) == collections.Counter(WORD.findall(whole))
        assert WORD.split(view) == WORD.split(whole)  # the white space


def test_word_swap_of_all_words_draws_every_order():
    made = text.WordSwap(strength=1.0, seed=1)(tf.constant(["a b c"] * 3000))
    counts = collections.Counter(made.numpy().tolist())
    assert len(counts) == 6
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-3


def without(whole, deleted):
    """The text without words, each gone with the white space before it; behind it where no word before it is kept."""
    words = WORD.findall(whole)
    gaps = WORD.split(whole)
    kept = [number for number in range(len(words)) if number not in deleted]
    if not kept:
        return whole
    return gaps[0] + words[kept[0]] + "".join(gaps[number] + words[number] for number in kept[1:]) + gaps[-1]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_word_deletion(strength):
    words = [WORD.findall(each) for each in TEXTS]
    expected = []
    rows, survivors = draws([len(found) for found in words]), draws([1] * len(TEXTS), 1)
    for whole, found, row, (last,) in zip(TEXTS, words, rows, survivors, strict=True):
        deleted = chosen_of(row, strength)
        if found and len(deleted) == len(found):
            deleted.remove(int(last * len(found)))
        expected.append(without(whole, deleted))
    assert views(text.WordDeletion(strength=strength)) == expected
    assert strength < 1.0 or all(len(view.split(" ")) == 1 for view in expected[5:-1])


def test_word_deletion_keeps_any_word_of_a_text_with_equal_probability():
    made = text.WordDeletion(strength=1.0, seed=1)(tf.constant(["a b c"] * 3000))
    counts = collections.Counter(made.numpy().tolist())
    assert set(counts) == {b"a", b"b", b"c"}
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_white_space_around_deleted_words():
    whole = " a  b\t c\n"
    found = set(views(text.WordDeletion(strength=0.5), [whole] * 200))
    assert found == {whole, " b\t c\n", " a\t c\n", " a  b\n", " a\n", " b\n", " c\n"}


SENTENCES = {
    "See it. Twice! Why not?  You will laugh.": ["See it.", "Twice!", "Why not?", "You will laugh."],
    " 안녕하세요.  저는 학생입니다! 그렇죠?\n네… 좋아요 ": [
        "안녕하세요.",
        "저는 학생입니다!",
        "그렇죠?",
        "네…",
        "좋아요",
    ],
    "他说：“好。”然后走了。再见！": ["他说：“好。”", "然后走了。", "再见！"],
    "no end": ["no end"],
    "": [],
}


@pytest.mark.parametrize("strength", STRENGTHS)
def test_sentence_shuffle(strength):
    texts = list(SENTENCES) * 8
    sentences = list(SENTENCES.values()) * 8
    counts = [len(found) for found in sentences]
    expected = []
    for whole, found, row, keys in zip(texts, sentences, draws(counts), draws(counts, 1), strict=True):
        moved = shuffled(found, chosen_of(row, strength), keys)
        expected.append(whole if moved == found else " ".join(moved))
    assert views(text.SentenceShuffle(strength=strength), texts) == expected
    assert strength < 0.7 or sum(view != whole for view, whole in zip(expected, texts, strict=True)) > 12


def noised(whole, strength, rows):
    """`whole` under character noise, from the three draws of each character that is not white space."""
    places = [position for position, character in enumerate(whole) if not character.isspace()]
    choose, kinds, others = rows
    chosen = [number for number, draw in enumerate(choose) if draw < strength]
    written = list(whole)
    for number in chosen:
        place, kind = places[number], int(4 * kinds[number])
        if kind == 0:
            written[place] = ""
        elif kind == 1:
            written[place] = 2 * whole[place]
        elif kind == 2:
            follows = number + 1 < len(places) and places[number + 1] == place + 1
            if follows and number + 1 not in chosen:
                written[place : place + 2] = whole[place + 1], whole[place]
        else:
            step = 1 + int(np.float32(others[number]) * np.float32(len(places) - 1))
            written[place] = whole[places[(number + step) % len(places)]]
    return "".join(written)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_character_noise(strength):
    counts = [sum(not character.isspace() for character in whole) for whole in TEXTS]
    rows = zip(*(draws(counts, draw) for draw in range(3)), strict=True)
    expected = [noised(whole, strength, row) for whole, row in zip(TEXTS, rows, strict=True)]
    assert views(text.CharacterNoise(strength=strength)) == expected


def test_character_noise_does_four_things_as_often():
    # One character of three is chosen, seldom two: what was done can be told from the view.
    made = text.CharacterNoise(strength=0.02, seed=1)(tf.constant(["abc"] * 20_000)).numpy()
    counts = collections.Counter(view.decode() for view in made)
    deleted = sum(counts[view] for view in ("bc", "ac", "ab"))
    doubled = sum(counts[view] for view in ("aabc", "abbc", "abcc"))
    replaced = sum(counts[view] for view in ("bbc", "cbc", "aac", "acc", "aba", "abb"))
    swapped = (counts["bac"] + counts["acb"]) * 3 / 2  # the last character has none to be swapped with
    expected = 20_000 * 3 * 0.02 * 0.98**2 / 4
    for count in (deleted, doubled, replaced, swapped):
        assert abs(count - expected) < 4.5 * np.sqrt(expected)


@pytest.mark.parametrize("layer", [text.TokenMasking, text.WordDeletion])
def test_words_are_chosen_as_often_as_the_strength_says(layer):
    views = layer(strength=0.2, seed=1)(tf.constant([NUMBERS] * 2000)).numpy()
    kept = collections.Counter(word for view in views for word in view.split() if word.startswith(b"w"))
    counts = np.array([kept[b"w%d" % number] for number in range(12)])
    assert np.all(np.abs(counts - 1600) < 4.5 * np.sqrt(2000 * 0.2 * 0.8))


@pytest.mark.parametrize("mask", ["", " ", "a b", "a\n", "\u3000"])
def test_mask_is_one_word(mask):
    with pytest.raises(ValueError, match="`mask` must be one word: .* Received: mask="):
        text.TokenMasking(mask=mask)


@pytest.mark.parametrize("mask", [None, 3, b"[MASK]"])
def test_mask_is_a_string(mask):
    with pytest.raises(TypeError, match="`mask` must be a string, .* Received: mask="):
        text.TokenMasking(mask=mask)


def test_mask_may_be_korean():
    assert views(text.TokenMasking(strength=1.0, mask="[가림]"), ["이 영화"]) == ["[가림] [가림]"]


@pytest.mark.parametrize(
    "layer", [text.CharacterNoise, text.SentenceShuffle, text.TokenMasking, text.WordDeletion, text.WordSwap]
)
def test_example_of_the_docstring_is_true(layer):
    (make, whole, view), *more = re.findall(
        r'view = kc\.augment\.text\.(.*)\n +view\(tf\.constant\(\["(.*)"\]\)\)  # "(.*)"', layer.__doc__
    )
    assert not more
    assert views(eval(f"text.{make}"), [whole], None) == [view]
