"""A target for the batch as a whole."""

import keras
import tensorflow as tf

from keras_consistency.ops import means
from keras_consistency.parts import Part, check_range


@keras.saving.register_keras_serializable(package="keras_consistency")
class ClassRatio(Part):
    """How much each class is believed in per example that is predicted as it; one distribution for all examples.

    `q = normalise(m / h)`, with `m` the running mean of the teacher's probabilities and `h` that of its predicted
    classes (one-hot), both from uniform on, over all replicas, and updated with the batch first. For
    `kc.divergences.Fairness`.

    Args:
        momentum: of both means, in [0, 1).

    References:
        - Y. Wang et al., [FreeMatch: self-adaptive thresholding for semi-supervised learning](
          https://arxiv.org/abs/2205.07246), 2023, equations 6 and 9-11.
    """

    def __init__(self, *, momentum=0.999):
        check_range("momentum", momentum, 0, 1, open_high=True)
        self.momentum = momentum

    def build(self, classes):
        """Creates the running means, float32 `(classes,)` each."""
        uniform = [1 / classes] * classes
        self.mean = keras.Variable(uniform, dtype="float32", trainable=False, name="mean_probabilities")
        self.predicted = keras.Variable(uniform, dtype="float32", trainable=False, name="mean_predicted_classes")
        self.variables = (self.mean, self.predicted)

    def __call__(self, look):
        predicted = tf.one_hot(tf.argmax(look.logits, axis=-1), look.logits.shape[-1])
        for variable, values in zip(self.variables, (look.probabilities, predicted), strict=True):
            means.follow(variable, means.over_examples(values), self.momentum)
        # With momentum 0 a class that the batch does not predict has no ratio.
        ratio = tf.math.divide_no_nan(self.mean.value, self.predicted.value)
        return tf.broadcast_to(ratio / tf.reduce_sum(ratio), tf.shape(look.logits))
