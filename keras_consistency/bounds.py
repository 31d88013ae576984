"""Bounds: numbers that targets and weights are given to judge by, and that change with what training has shown.

A bound is called with a `Look` and returns a scalar. Several parts may be given the same one.
"""

import keras
import tensorflow as tf

from keras_consistency.ops import replicas
from keras_consistency.parts import Part, check_count, check_range


@keras.saving.register_keras_serializable(package="keras_consistency")
class DecayingLoss(Part):
    """A bound of losses that decays from the labelled loss at the end of a warm-up.

    The warm-up takes a running mean of the cross-entropy of the labelled batches, started by the first of them. Its
    last value `r` stays; the bound is then `max(C * gamma^(-k) * r, rho_min)`, with `k` counting the decays: one each
    `decay_every` steps. During the warm-up the bound is -1, which no loss is below.

    Args:
        warmup_steps: length of the warm-up in optimizer steps. With 0, `r` is the loss of the first labelled batch.
        decay_every: optimizer steps from one decay to the next.
        gamma: what the bound is divided by in a decay, in (1, inf).
        C: factor of the bound, in (0, inf).
        rho_min: the bound's lower end, in [0, inf).
        momentum: of the running mean of the warm-up, in [0, 1).

    Raises:
        ValueError: at call, where the labels are no class labels.

    References:
        - Y. Xu et al., [Dash: semi-supervised learning with dynamic thresholding](
          https://proceedings.mlr.press/v139/xu21e.html), 2021, equation 7 and algorithm 1. Deviation: a running mean of
          the labelled batches stands for the loss of the whole labelled set after the warm-up.
    """

    requires = ("labeled",)
    needs_answer = False

    def __init__(self, *, warmup_steps, decay_every, gamma=1.27, C=1.0001, rho_min=0.05, momentum=0.9):
        check_count("warmup_steps", warmup_steps, minimum=0)
        check_count("decay_every", decay_every)
        check_range("gamma", gamma, 1, float("inf"), open_low=True, open_high=True)
        check_range("C", C, 0, float("inf"), open_low=True, open_high=True)
        check_range("rho_min", rho_min, 0, float("inf"), open_high=True)
        check_range("momentum", momentum, 0, 1, open_high=True)
        self.warmup_steps = warmup_steps
        self.decay_every = decay_every
        self.gamma = gamma
        self.C = C
        self.rho_min = rho_min
        self.momentum = momentum

    def build(self, classes):
        """Creates the labelled loss, a float32 scalar, below 0 until there is one; and the step that it is of."""
        self.labeled_loss = keras.Variable(-1.0, dtype="float32", trainable=False, name="labeled_loss")
        self.seen_step = keras.Variable(-1, dtype="int64", trainable=False, name="seen_step")
        self.variables = (self.labeled_loss, self.seen_step)

    def __call__(self, look):
        step = tf.cast(look.step, tf.int64)
        known = self._warm_up(look, step)
        decays = tf.cast((step - self.warmup_steps) // self.decay_every, tf.float32)
        bound = tf.maximum(self.C * tf.pow(self.gamma, -decays) * known, self.rho_min)
        return tf.where(step < self.warmup_steps, -1.0, bound)

    def final(self, bound):
        """Whether a bound that this part gave is the last that it will give, a boolean scalar."""
        return tf.equal(bound, self.rho_min)

    def _warm_up(self, look, step):
        """The labelled loss that is known by now."""
        if look.labeled_labels is None:
            raise ValueError(
                f"`{type(self).__name__}` starts from the cross-entropy of the labelled examples, so `y` must hold "
                "class numbers or class probabilities, in the shape of the answers. Received: labels of another shape"
            )
        loss = tf.nn.softmax_cross_entropy_with_logits(labels=look.labeled_labels, logits=look.labeled.logits)
        loss = replicas.all_mean(tf.reduce_mean(loss))
        known = self.labeled_loss.value
        moved = tf.where(known < 0.0, loss, self.momentum * known + (1.0 - self.momentum) * loss)
        # Once a step, though parts that see different looks ask.
        moves = (step != self.seen_step.value) & ((step < self.warmup_steps) | (known < 0.0))
        known = tf.where(moves, moved, known)
        self.labeled_loss.assign(known)
        self.seen_step.assign(step)
        return known
