"""The divergence between the student's answers on several views, none of which is the target."""

import keras
import tensorflow as tf

from keras_consistency.divergences.divergence import ViewDivergence

_LEAST = 1e-7  # of the mean's probabilities, as in the published code of AugMix


@keras.saving.register_keras_serializable(package="keras_consistency")
class JensenShannon(ViewDivergence):
    """`1/V sum_v KL(p_v || M)`, `M = 1/V sum_v p_v`, between the student's probabilities `p_v` on its `V` views.

    Neither target nor weight is looked at: the views agree with each other, and the gradient flows into all of them.

    For terms with two student views or more.

    References:
        - D. Hendrycks et al., [AugMix: a simple data processing method to improve robustness and uncertainty](
          https://arxiv.org/abs/1912.02781), 2020, equation 2. As in its code, `M` is at least 1e-7.
    """

    def __call__(self, target, answers):
        """The divergence of each example, float32 `(examples, ...)`, of a list of logits `(examples, ..., classes)`."""
        logarithms = [tf.nn.log_softmax(answer) for answer in answers]
        mean = tf.add_n([tf.exp(each) for each in logarithms]) / len(answers)
        mean = tf.math.log(tf.clip_by_value(mean, _LEAST, 1.0))
        views = [tf.reduce_sum(tf.exp(each) * (each - mean), axis=-1) for each in logarithms]
        return tf.add_n(views) / len(answers)
