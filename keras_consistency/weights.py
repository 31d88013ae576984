"""Weights: how much each example counts in a term, or in the supervised loss.

The weight of a term is called with a `Look` and returns float32 `(examples,)`; zero takes the example out of the term.
"""

import keras
import tensorflow as tf

from keras_consistency.ops import replicas
from keras_consistency.ops.require import guarded
from keras_consistency.parts import Part, check_count, check_range


@keras.saving.register_keras_serializable(package="keras_consistency")
class Uniform(Part):
    """Every example counts 1."""

    def __call__(self, look):
        return tf.ones(tf.shape(look.logits)[:1])


@keras.saving.register_keras_serializable(package="keras_consistency")
class Confidence(Part):
    """1 where the teacher's largest probability reaches the threshold, else 0.

    Args:
        threshold: in [0, 1].

    References:
        - K. Sohn et al., [FixMatch: simplifying semi-supervised learning with consistency and confidence](
          https://arxiv.org/abs/2001.07685), 2020, equation 4.
    """

    def __init__(self, *, threshold):
        check_range("threshold", threshold, 0, 1)
        self.threshold = threshold

    def __call__(self, look):
        return tf.cast(tf.reduce_max(look.probabilities, axis=-1) >= self.threshold, tf.float32)


@keras.saving.register_keras_serializable(package="keras_consistency")
class CurriculumConfidence(Part):
    """A confidence threshold per class, lower for the classes that are learnt more slowly.

    The learning status of class `c` is the number `s_c` of unlabelled examples whose last confident prediction (at
    least `threshold`) was `c`. With `u` the examples that have none yet, `b_c = s_c / max(max_c s_c, u)`, and an
    example of predicted class `c` counts 1 where `max p >= threshold * b_c / (2 - b_c)`. The status is read first and
    updated with the batch afterwards. It needs the key `"index"` in the batch: `kc.data.pair(..., indexed=True)`.

    Args:
        threshold: in [0, 1].
        examples: number of unlabelled examples in the data set. `None` makes room for 65,536 and takes the
            examples seen so far for the data set, which differs from the paper during the first epoch only.

    Raises:
        ValueError: at call, where the batch has no `"index"` or a position is not below the number of examples.

    References:
        - B. Zhang et al., [FlexMatch: boosting semi-supervised learning with curriculum pseudo labeling](
          https://arxiv.org/abs/2110.08263), 2021, equations 5-8 (with the convex mapping and the warm-up).
    """

    requires = ("index",)
    _UNSEEN, _UNCONFIDENT = -2, -1

    def __init__(self, *, threshold, examples=None):
        check_range("threshold", threshold, 0, 1)
        if examples is not None:
            check_count("examples", examples)
        self.threshold = threshold
        self.examples = examples

    def build(self, classes):
        """Creates the memory: int32 `(examples,)`, the last confident class of each example."""
        self.classes = classes
        start = self._UNSEEN if self.examples is None else self._UNCONFIDENT
        self.last_class = keras.Variable(
            tf.fill([self.examples or 65_536], start), dtype="int32", trainable=False, name="last_confident_class"
        )
        self.variables = (self.last_class,)

    def status(self):
        """The learning status `b_c` in [0, 1] of each class, float32 `(classes,)`."""
        counts = tf.math.bincount(
            self.last_class.value - self._UNSEEN,
            minlength=self.classes + 2,
            maxlength=self.classes + 2,
            dtype=tf.float32,
        )
        unconfident, learned = counts[1], counts[2:]
        return tf.math.divide_no_nan(learned, tf.maximum(tf.reduce_max(learned), unconfident))

    def __call__(self, look):
        size = self.last_class.shape[0]
        index = tf.cast(look.index, tf.int32)
        index = guarded(
            index,
            tf.reduce_all((index >= 0) & (index < size)),
            f'The key "index" of the batch must lie in [0, {size}): pass `examples=` the number of unlabelled examples '
            "in the data set. Received positions up to",
            tf.reduce_max(index),
        )
        confidence = tf.reduce_max(look.probabilities, axis=-1)
        predicted = tf.argmax(look.probabilities, axis=-1, output_type=tf.int32)
        status = tf.gather(self.status(), predicted)
        weight = tf.cast(confidence >= self.threshold * status / (2.0 - status), tf.float32)
        self._remember(index, predicted, confidence >= self.threshold)
        return weight

    def _remember(self, index, predicted, confident):
        # Numbers, as collectives gather no truth values.
        found = tf.where(confident, predicted, self._UNCONFIDENT)
        index, found = replicas.all_gather(index), replicas.all_gather(found)
        known = tf.maximum(tf.gather(self.last_class.value, index), self._UNCONFIDENT)
        self.last_class.assign(
            tf.tensor_scatter_nd_update(
                self.last_class.value, index[:, tf.newaxis], tf.where(found == self._UNCONFIDENT, known, found)
            )
        )


@keras.saving.register_keras_serializable(package="keras_consistency")
class SignalAnnealing(Part):
    """Training-signal annealing: takes labelled examples out of the supervised loss while the student is already sure
    of them.

    A weight of the *supervised* loss (`ConsistencyModel(labeled_weight=...)`). An example counts while the student's
    probability of its true label is at most `1/K + a(t) (1 - 1/K)`, with `K` classes, `t = min(step / steps, 1)` and
    `a` rising from 0 to 1. Those that remain are divided by their own number (at least 1), over all replicas.

    Args:
        steps: optimizer steps after which every example counts.
        shape: `"linear"` (`a = t`), `"exp"` (`exp(5 (t - 1))`, late release) or `"log"` (`1 - exp(-5 t)`, early
            release).

    References:
        - Q. Xie et al., [Unsupervised data augmentation for consistency training](https://arxiv.org/abs/1904.12848),
          2020, section 3.2 of the first version (training signal annealing).
    """

    SHAPES = {
        "linear": lambda t: t,
        "exp": lambda t: tf.exp(5.0 * (t - 1.0)),
        "log": lambda t: 1.0 - tf.exp(-5.0 * t),
    }

    def __init__(self, *, steps, shape="linear"):
        check_count("steps", steps)
        if shape not in self.SHAPES:
            raise ValueError(f"`shape` must be one of {sorted(self.SHAPES)}. Received: shape={shape!r}")
        self.steps = steps
        self.shape = shape

    def __call__(self, labels, logits, step):
        """Weights of the labelled examples.

        Args:
            labels: class probabilities (one-hot), float32 `(examples, classes)`.
            logits: the student's, float32 `(examples, classes)`.
            step: number of optimizer steps done.

        Returns:
            float32 `(examples,)`, whose mean over the global batch is 1 (0 where no example counts).
        """
        classes = logits.shape[-1]
        annealed = self.SHAPES[self.shape](tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0))
        threshold = annealed * (1.0 - 1.0 / classes) + 1.0 / classes
        sure = tf.reduce_sum(labels * tf.nn.softmax(logits), axis=-1) > threshold
        kept = tf.stop_gradient(1.0 - tf.cast(sure, tf.float32))
        examples = tf.cast(tf.size(kept), tf.float32) * replicas.count()
        return kept * examples / tf.maximum(replicas.all_sum(tf.reduce_sum(kept)), 1.0)
