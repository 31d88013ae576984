"""Confidence thresholds that follow what the teacher says."""

import keras
import tensorflow as tf

from keras_consistency.ops import means, replicas
from keras_consistency.parts import Part, check_range


@keras.saving.register_keras_serializable(package="keras_consistency")
class SelfAdaptiveConfidence(Part):
    """1 where the largest probability reaches a threshold that follows the teacher's confidence, per class; else 0.

    With `t` the running mean of the largest probabilities, from `1/K` on for `K` classes, and `m` the running mean of
    the probabilities, from uniform on, an example of predicted class `c` counts where `max p >= t m_c / max m`. Both
    means are over all replicas and are updated with the batch first.

    Args:
        momentum: of both means, in [0, 1).

    References:
        - Y. Wang et al., [FreeMatch: self-adaptive thresholding for semi-supervised learning](
          https://arxiv.org/abs/2205.07246), 2023, equations 5-7.
    """

    def __init__(self, *, momentum=0.999):
        check_range("momentum", momentum, 0, 1, open_high=True)
        self.momentum = momentum

    def build(self, classes):
        """Creates the running means: float32 scalar and `(classes,)`."""
        self.confidence = keras.Variable(1 / classes, dtype="float32", trainable=False, name="mean_confidence")
        self.mean = keras.Variable([1 / classes] * classes, dtype="float32", trainable=False, name="mean_probabilities")
        self.variables = (self.confidence, self.mean)

    def thresholds(self):
        """The present threshold of each class, float32 `(classes,)`."""
        return self.confidence.value * self.mean.value / tf.reduce_max(self.mean.value)

    def __call__(self, look):
        confidence = tf.reduce_max(look.probabilities, axis=-1)
        means.follow(self.confidence, replicas.all_mean(tf.reduce_mean(confidence)), self.momentum)
        means.follow(self.mean, means.over_examples(look.probabilities), self.momentum)
        threshold = tf.gather(self.thresholds(), tf.argmax(look.probabilities, axis=-1))
        return tf.cast(confidence >= threshold, tf.float32)


@keras.saving.register_keras_serializable(package="keras_consistency")
class TruncatedGaussian(Part):
    """Falls off like a Gaussian below the mean of the largest probabilities, and is 1 above it.

    `exp(-min(max p - m, 0)^2 / (2 v / n_sigma^2))`, with `m` the running mean of the largest probabilities, from `1/K`
    on for `K` classes, and `v` that of their (unbiased) variance, from 1 on. Both are over all replicas and are updated
    with the batch first.

    Args:
        n_sigma: the running standard deviation over that of the Gaussian, in (0, inf): the larger, the narrower.
        momentum: of the mean and the variance, in [0, 1).

    References:
        - H. Chen et al., [SoftMatch: addressing the quantity-quality trade-off in semi-supervised learning](
          https://arxiv.org/abs/2301.10921), 2023, equations 5-8, with the factor `n_sigma` of the authors' code.
    """

    def __init__(self, *, n_sigma=2.0, momentum=0.999):
        check_range("n_sigma", n_sigma, 0, float("inf"), open_low=True, open_high=True)
        check_range("momentum", momentum, 0, 1, open_high=True)
        self.n_sigma = n_sigma
        self.momentum = momentum

    def build(self, classes):
        """Creates mean and variance, float32 scalars."""
        self.mean = keras.Variable(1 / classes, dtype="float32", trainable=False, name="mean_confidence")
        self.variance = keras.Variable(1.0, dtype="float32", trainable=False, name="variance_of_confidence")
        self.variables = (self.mean, self.variance)

    def __call__(self, look):
        confidence = tf.reduce_max(look.probabilities, axis=-1)
        examples = tf.cast(tf.size(confidence) * replicas.count(), tf.float32)
        mean = replicas.all_sum(tf.reduce_sum(confidence)) / examples
        squares = replicas.all_sum(tf.reduce_sum(tf.square(confidence - mean)))
        # One example has no variance, and says nothing of it.
        variance = tf.where(examples > 1.0, squares / tf.maximum(examples - 1.0, 1.0), self.variance.value)
        below = tf.minimum(confidence - means.follow(self.mean, mean, self.momentum), 0.0)
        variance = means.follow(self.variance, variance, self.momentum)
        spread = 2.0 * tf.maximum(variance, 1e-12) / self.n_sigma**2
        return tf.exp(-tf.square(below) / spread)


@keras.saving.register_keras_serializable(package="keras_consistency")
class RelativeConfidence(Part):
    """1 where the largest probability reaches a share of the mean of those on the labelled examples, else 0.

    `max p >= threshold * mean_labeled max p`, the mean over the labelled batch of all replicas, whose answers are not
    aligned.

    Args:
        threshold: in [0, 1].

    References:
        - D. Berthelot et al., [AdaMatch: a unified approach to semi-supervised learning and domain adaptation](
          https://arxiv.org/abs/2106.04732), 2022, equations 3 and 4 (relative confidence threshold).
    """

    requires = ("labeled",)

    def __init__(self, *, threshold):
        check_range("threshold", threshold, 0, 1)
        self.threshold = threshold

    def __call__(self, look):
        of_labeled = replicas.all_mean(tf.reduce_mean(tf.reduce_max(look.labeled.probabilities, axis=-1)))
        confidence = tf.reduce_max(look.probabilities, axis=-1)
        return tf.cast(confidence >= self.threshold * of_labeled, tf.float32)
