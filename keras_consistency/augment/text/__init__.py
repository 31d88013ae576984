"""Random views of texts, drawn for each text on its own."""

from keras_consistency.augment.text.character_noise import CharacterNoise
from keras_consistency.augment.text.lexicon import ENGLISH_STOP_WORDS, read_lexicon
from keras_consistency.augment.text.random_insertion import RandomInsertion
from keras_consistency.augment.text.sentence_shuffle import SentenceShuffle
from keras_consistency.augment.text.synonym_replacement import SynonymReplacement
from keras_consistency.augment.text.text_layer import TextLayer
from keras_consistency.augment.text.tfidf_replacement import TfIdfReplacement
from keras_consistency.augment.text.token_masking import TokenMasking
from keras_consistency.augment.text.word_deletion import WordDeletion
from keras_consistency.augment.text.word_swap import WordSwap

__all__ = [
    "CharacterNoise",
    "ENGLISH_STOP_WORDS",
    "RandomInsertion",
    "SentenceShuffle",
    "SynonymReplacement",
    "TextLayer",
    "TfIdfReplacement",
    "TokenMasking",
    "WordDeletion",
    "WordSwap",
    "read_lexicon",
]
