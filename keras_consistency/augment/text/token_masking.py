"""Cover words."""

import keras
import tensorflow as tf

from keras_consistency.augment.text.text_layer import TextLayer
from keras_consistency.ops import random, text


@keras.saving.register_keras_serializable(package="keras_consistency")
class TokenMasking(TextLayer):
    """Replace words by a mask, each with the same probability.

    A word is replaced whole, with its punctuation. The mask should be one of the tokens of the student's vocabulary.

    Args:
        strength: probability that a word is masked, in [0, 1]; 0 is the identity. The default is BERT's.
        mask: what replaces a word: a string that is not empty and has no white space.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        Any, of dense strings, a whole text in each (see `TextLayer`).

    Output shape:
        As the input.

    Raises:
        ValueError: where `strength` lies outside [0, 1], or `mask` is empty or has white space.
        TypeError: where `mask` is no string, or the inputs do not fit (see `TextLayer`).

    References:
        Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2018, section
        3.1, https://arxiv.org/abs/1810.04805. There a chosen word is left or replaced by a random one now and then, as
        the network is to predict it; here it is always masked.
        Xie et al., "Data Noising as Smoothing in Neural Network Language Models", 2017 ("blank noising"),
        https://arxiv.org/abs/1703.02573.

    Example:

    ```python
    view = kc.augment.text.TokenMasking(strength=0.3, seed=7)
    view(tf.constant(["a film that nobody should miss"]))  # "a [MASK] that nobody [MASK] miss"
    ```
    """

    def __init__(self, *, strength=0.15, mask="[MASK]", seed=None, **kwargs):
        super().__init__(strength=strength, seed=seed, **kwargs)
        if not isinstance(mask, str):
            raise TypeError(f"`mask` must be a string, as in '[MASK]'. Received: mask={mask!r}")
        if mask.split() != [mask]:
            raise ValueError(f"`mask` must be one word: not empty, and without white space. Received: mask={mask!r}")
        self.mask = mask

    def rewrite(self, texts, seeds):
        texts = text.joined(texts)
        starts, ends, row_splits = text.words(texts)
        chosen = tf.where(random.ragged_uniform(seeds, row_splits) < self.strength)[:, 0]
        masks = tf.fill(tf.shape(chosen), self.mask)
        return text.splice(texts, tf.gather(starts, chosen), tf.gather(ends, chosen), masks)

    def get_config(self):
        return {**super().get_config(), "mask": self.mask}
