"""Misspell words."""

import keras
import tensorflow as tf

from keras_consistency.augment.text.text_layer import TextLayer
from keras_consistency.ops import random, text


@keras.saving.register_keras_serializable(package="keras_consistency")
class CharacterNoise(TextLayer):
    """Misspell words, character by character, in the script that the text is written in.

    Each character that is not white space is chosen with the same probability, and one of four things happens to it,
    each as likely: it is left out, written twice, swapped with the next character of its word, or replaced by another
    character drawn uniformly from the same text. A swap changes nothing at the end of a word and where the next
    character is chosen too; a text may hold the same character elsewhere.

    A character is a code point: a syllable of Korean stays whole as long as the text is in normalization form C.

    Args:
        strength: probability that a character is chosen, in [0, 1]; 0 is the identity.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        Any, of dense strings, a whole text in each (see `TextLayer`).

    Output shape:
        As the input.

    Raises:
        ValueError: where `strength` lies outside [0, 1].
        TypeError: where the inputs do not fit (see `TextLayer`).

    References:
        Belinkov and Bisk, "Synthetic and Natural Noise Both Break Neural Machine Translation", 2017,
        https://arxiv.org/abs/1711.02173. There one swap or one neighbour on the keyboard is drawn for a word, and no
        character is left out or written twice; which keys are neighbours is a matter of the script.

    Example:

    ```python
    view = kc.augment.text.CharacterNoise(strength=0.1, seed=3)
    view(tf.constant(["a film that nobody should miss"]))  # "a fim hat nobody sholud miss"
    ```
    """

    def __init__(self, *, strength=0.05, seed=None, **kwargs):
        super().__init__(strength=strength, seed=seed, **kwargs)

    def rewrite(self, texts, seeds):
        texts = text.joined(texts)
        characters, row_splits = text.characters(texts)
        chosen = tf.where(random.ragged_uniform(seeds, row_splits) < self.strength)[:, 0]
        kind = tf.cast(4.0 * random.ragged_uniform(seeds, row_splits, 1, chosen), tf.int32)
        starts = tf.gather(characters, chosen)
        ends = text.character_ends(texts, starts)

        following = tf.minimum(chosen + 1, tf.size(characters, tf.int64) - 1)
        alone = tf.concat([chosen[1:] != following[:-1], tf.fill(tf.shape(chosen[-1:]), True)], axis=0)
        swapped = (kind == 2) & alone & (tf.gather(characters, following) == ends)
        place_ends = tf.where(swapped, text.character_ends(texts, ends), ends)
        others = tf.gather(characters, _others(chosen, row_splits, seeds))

        # Left out, written twice, swapped and replaced: what comes first in the place, and what comes second.
        first = (
            _of_kind(kind, starts, starts, ends, others),
            _of_kind(kind, starts, ends, place_ends, text.character_ends(texts, others)),
        )
        second = starts, _of_kind(kind, starts, ends, ends, starts)
        pieces = tf.strings.join([text.cut(texts, *first), text.cut(texts, *second)])
        return text.splice(texts, starts, place_ends, pieces)


def _of_kind(kind, *values):
    """The value for each character's kind: int32 `(n,)`, values `(n,)` -> `(n,)`."""
    return tf.gather(tf.stack(values, axis=1), kind, batch_dims=1)


def _others(chosen, row_splits, seeds):
    """For each chosen character another one of its text, the same where it is the only one: int64 `(n,)`."""
    rows = random.row_of(row_splits, chosen)
    first = tf.gather(row_splits, rows)
    count = tf.gather(row_splits, rows + 1) - first
    steps = random.ragged_uniform(seeds, row_splits, 2, chosen) * tf.cast(count - 1, tf.float32)
    return first + (chosen - first + 1 + tf.cast(steps, tf.int64)) % count
