"""Distribution alignment."""

import keras
import numpy as np
import tensorflow as tf

from keras_consistency.alignments.alignment import Alignment
from keras_consistency.ops import means
from keras_consistency.parts import check_range

_SMALLEST = 1e-6


@keras.saving.register_keras_serializable(package="keras_consistency")
class DistributionAlignment(Alignment):
    """Multiplies each class's probability by how far its running mean falls short of the prior, and normalises.

    `p' = normalise(p * prior / mean)`, where `mean` is the running mean of the unlabelled batches' probabilities, this
    one included, over all replicas. A class that the model begins to forget is pulled up before it is lost, which is
    what few labels a class make likely.

    Args:
        prior: the share of each class, numbers above 0 that sum to 1, or `None` for uniform; or what it is estimated
            from, the labelled batches: `"labels"` for the running mean of their labels, `"predictions"` for that of the
            teacher's probabilities of them.
        momentum: of the running means, in [0, 1): `mean = momentum mean + (1 - momentum) batch mean`, from the prior
            on, or from uniform where that is estimated.
        applies_to: who sees the aligned answer: `"both"` target and weight, `"target"` or `"weight"`.

    Raises:
        ValueError: when the model is built, for a prior that has not one share for each class; at call, for
            `prior="labels"` without class labels.

    References:
        - D. Berthelot et al., [ReMixMatch: semi-supervised learning with distribution alignment and augmentation
          anchoring](https://arxiv.org/abs/1911.09785), 2020, section 3.1: `prior="labels"`. Deviation: exponential
          means instead of those of the last 128 batches.
        - D. Berthelot et al., [AdaMatch: a unified approach to semi-supervised learning and domain adaptation](
          https://arxiv.org/abs/2106.04732), 2022, section 3.3: `prior="predictions"`.
    """

    ESTIMATED = ("labels", "predictions")

    def __init__(self, *, prior=None, momentum=0.99, applies_to="both"):
        check_range("momentum", momentum, 0, 1, open_high=True)
        if applies_to not in ("both", "target", "weight"):
            raise ValueError(f"`applies_to` must be 'both', 'target' or 'weight'. Received: applies_to={applies_to!r}")
        known = prior is None or (isinstance(prior, str) and prior in self.ESTIMATED)
        self.prior = prior if known else _shares(prior)
        self.momentum = momentum
        self.applies_to = applies_to
        self.requires = ("labeled",) if self.prior == "predictions" else ()

    def build(self, classes):
        """Creates the running means, float32 `(classes,)`."""
        prior = self.prior if isinstance(self.prior, list) else [1 / classes] * classes
        if len(prior) != classes:
            raise ValueError(
                f"`prior` must have one share for each of the {classes} classes. Received: {len(prior)} shares"
            )
        self._prior = tf.constant(prior, tf.float32)
        self.mean = keras.Variable(prior, dtype="float32", trainable=False, name="mean_probabilities")
        self.variables = (self.mean,)
        if self.prior in self.ESTIMATED:
            self.labeled_mean = keras.Variable(prior, dtype="float32", trainable=False, name="mean_of_labeled")
            self.variables = (self.mean, self.labeled_mean)

    def __call__(self, look):
        mean = means.follow(self.mean, means.over_examples(look.probabilities), self.momentum)
        prior = self._prior
        if self.prior in self.ESTIMATED:
            prior = means.follow(self.labeled_mean, means.over_examples(self._known(look)), self.momentum)
        correction = tf.math.log(tf.maximum(prior, _SMALLEST)) - tf.math.log(tf.maximum(mean, _SMALLEST))
        return tf.nn.log_softmax(look.logits) + correction

    def _known(self, look):
        """What the prior is estimated from: class probabilities of the labelled examples."""
        if self.prior == "predictions":
            return look.labeled.probabilities
        if look.labeled_labels is None:
            raise ValueError(
                "`prior='labels'` needs `y` to hold class numbers or class probabilities, in the shape of the answers. "
                f"Received: prior={self.prior!r}, with labels of another shape"
            )
        return look.labeled_labels


def _shares(prior):
    """A given prior as a list of floats; raises unless it is a distribution."""
    try:
        shares = np.asarray(prior, "float64")
    except (TypeError, ValueError):
        shares = np.zeros([])
    if shares.ndim != 1 or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-5:
        raise ValueError(
            "`prior` must be numbers above 0 that sum to 1, one a class, or 'labels', 'predictions' or None. "
            f"Received: prior={prior!r}"
        )
    return [float(share) for share in shares]
