"""A divergence between the student's own answers, with the gradient into both."""

import keras
import tensorflow as tf

from keras_consistency.divergences.divergence import Divergence, ViewDivergence
from keras_consistency.parts import check_part


@keras.saving.register_keras_serializable(package="keras_consistency")
class Between(ViewDivergence):
    """A divergence from the student's answer on its first view to those on the others; the gradient flows into all.

    The first answer takes the place of the target: its class probabilities or, for a divergence between values, the
    answer itself. No teacher is asked. For terms with two student views or more.

    Args:
        divergence: a part of `kc.divergences` that compares a target with an answer.

    Example:
        >>> kc.divergences.Between(kc.divergences.KullbackLeibler())   # KL(p(first) || p(second)), as TRADES has it

    References:
        - H. Zhang et al., [Theoretically principled trade-off between robustness and accuracy](
          https://arxiv.org/abs/1901.08573), 2019, equation 5.
    """

    def __init__(self, divergence):
        check_part("divergence", divergence, "divergences", Divergence)
        if not divergence.needs_target:
            raise ValueError(
                "`divergence` must compare a target with an answer, as `kc.divergences.KullbackLeibler` does. "
                f"Received: divergence={divergence!r}"
            )
        self.divergence = divergence
        self.of_classes = divergence.of_classes

    def __call__(self, target, answers):
        """The mean over the views but the first, float32 `(examples, ...)`, of a list of answers."""
        first, *others = answers
        target = tf.nn.softmax(first) if self.of_classes else first
        return tf.add_n([self.divergence(target, other) for other in others]) / len(others)
