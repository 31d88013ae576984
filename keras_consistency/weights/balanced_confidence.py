"""A confidence threshold for imbalanced classes."""

import keras
import tensorflow as tf

from keras_consistency.ops import means
from keras_consistency.parts import Part, check_range


@keras.saving.register_keras_serializable(package="keras_consistency")
class BalancedConfidence(Part):
    """A confidence threshold per class, lower for the classes that are named more rarely.

    An example of predicted class `c` counts 1 where `max p >= threshold * (m_c / max m)^power`, else 0. `m` is the
    running mean of the teacher's probabilities on the examples, over all replicas, updated with the batch first. What a
    model says of rare classes is seldom confident, but mostly right: one threshold for all would leave them out.

    Args:
        threshold: of the class that is named most, in [0, 1].
        power: how much lower the threshold of rarer classes is, in [0, inf): 0 is one threshold for all, 1 is in
            proportion to how often a class is named.
        momentum: of the running mean, in [0, 1): `m = momentum m + (1 - momentum) batch mean`, from uniform on.

    References:
        - Y. Wang et al., [FreeMatch: self-adaptive thresholding for semi-supervised learning](
          https://arxiv.org/abs/2205.07246), 2023, section 4.1, whose factor of each class this is with a power of 1.
          Deviations: the threshold that it multiplies is given instead of learnt, there is a power, and the mean
          forgets ten times sooner, to serve runs of a thousand steps as well.
        - C. Wei et al., [CReST: a class-rebalancing self-training framework for imbalanced semi-supervised learning](
          https://arxiv.org/abs/2102.09559), 2021, section 3: pseudo-labels of rare classes are precise; the power as
          the strength of rebalancing.
    """

    def __init__(self, *, threshold, power=0.5, momentum=0.99):
        check_range("threshold", threshold, 0, 1)
        check_range("power", power, 0, float("inf"), open_high=True)
        check_range("momentum", momentum, 0, 1, open_high=True)
        self.threshold = threshold
        self.power = power
        self.momentum = momentum

    def build(self, classes):
        """Creates the running mean, float32 `(classes,)`."""
        self.mean = keras.Variable([1 / classes] * classes, dtype="float32", trainable=False, name="mean_prediction")
        self.variables = (self.mean,)

    def thresholds(self):
        """The threshold of each class, float32 `(classes,)`."""
        return self.threshold * (self.mean.value / tf.reduce_max(self.mean.value)) ** self.power

    def __call__(self, look):
        means.follow(self.mean, means.over_examples(look.probabilities), self.momentum)
        predicted = tf.argmax(look.probabilities, axis=-1, output_type=tf.int32)
        needed = tf.gather(self.thresholds(), predicted)
        return tf.cast(tf.reduce_max(look.probabilities, axis=-1) >= needed, tf.float32)
