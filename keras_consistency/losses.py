"""Losses for `compile(loss=...)` that Keras does not have.

A loss that takes labels as class probabilities says so with `takes_probabilities = True`, which models with a mixer,
whose labels become probabilities, ask for.
"""

import keras
import numpy as np
import tensorflow as tf

from keras_consistency import labels
from keras_consistency.parts import check_range


@keras.saving.register_keras_serializable(package="keras_consistency")
class LogitAdjustedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits to which the logarithm of each class's share of the labels is added while training.

    `-sum_c y_c log softmax(logits + temperature * log prior)_c`. With a temperature of 1 the logits themselves learn to
    be right on balanced classes, however imbalanced the labels are: predict from them as they are. A validation loss is
    adjusted as the training loss is.

    Args:
        prior: what to adjust for, one number above 0 a class, at least two: how many labelled examples the class has
            (whole numbers), or its share of them (shares sum to 1). Both mean the same loss. The student's softmax
            never sees it.
        temperature: strength of the adjustment, in [0, inf); 0 is plain cross-entropy.
        reduction: as in `keras.losses.Loss`.
        name: name of the loss.

    Input shape:
        Class numbers `(examples, ...)` or `(examples, ..., 1)`, or class probabilities `(examples, ..., classes)`, and
        logits `(examples, ..., classes)`.

    Raises:
        ValueError: for a prior outside its range; at call, where the prior has not one number for each class.

    References:
        - A. K. Menon et al., [Long-tail learning via logit adjustment](https://arxiv.org/abs/2007.07314), 2021,
          equation 10.

    Example:

    ```python
    model.compile("adam", loss=kc.losses.LogitAdjustedCrossentropy(np.bincount(y)), metrics=["accuracy"])
    ```
    """

    takes_probabilities = True

    def __init__(self, prior, *, temperature=1.0, reduction="sum_over_batch_size", name="logit_adjusted_crossentropy"):
        super().__init__(reduction=reduction, name=name)
        check_range("temperature", temperature, 0, float("inf"), open_high=True)
        self.prior = _checked_prior(prior)
        self.temperature = temperature

    def call(self, y_true, y_pred):
        """The loss of each example, float32 `(examples, ...)`."""
        classes = y_pred.shape[-1]
        if classes != len(self.prior):
            raise ValueError(
                f"`prior` must have one number for each of the {classes} classes. Received: {len(self.prior)} numbers, "
                f"prior={self.prior}"
            )
        log_shares = np.log(np.asarray(self.prior) / np.sum(self.prior))
        log_probabilities = tf.nn.log_softmax(y_pred + tf.constant(self.temperature * log_shares, y_pred.dtype))
        targets = labels.as_targets(y_true, None, y_pred.shape)
        if targets is None:
            raise ValueError(
                f"`y` must hold class numbers, or probabilities of {classes} classes, for logits of shape "
                f"{y_pred.shape}. Received: labels of shape {y_true.shape}"
            )
        return -tf.reduce_sum(tf.cast(targets, y_pred.dtype) * log_probabilities, axis=-1)

    def get_config(self):
        return {
            "prior": self.prior,
            "temperature": self.temperature,
            "reduction": self.reduction,
            "name": self.name,
        }


def _checked_prior(prior):
    """The prior as a list of numbers; whole numbers are counts, others must be shares."""
    try:
        numbers = np.asarray(prior, "float64")
    except (TypeError, ValueError):
        numbers = np.zeros([])
    if numbers.ndim == 1 and numbers.size > 1 and np.isfinite(numbers).all() and (numbers > 0).all():
        if (numbers == np.round(numbers)).all() or abs(numbers.sum() - 1) <= 1e-5:
            return [float(number) for number in numbers]
    raise ValueError(
        "`prior` must be numbers above 0, one a class and at least two: counts, which are whole numbers, or shares, "
        f"which sum to 1. Leave out classes without examples in the student too. Received: prior={prior!r}"
    )
