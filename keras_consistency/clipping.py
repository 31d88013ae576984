"""Gradient clipping that means the same on any number of replicas, in any precision, with or without accumulation."""

import weakref

import keras
import tensorflow as tf

from keras_consistency import _compat
from keras_consistency.ops import replicas
from keras_consistency.parts import Part, check_count, check_range

_LEAST_WEIGHT = 1e-3  # norm that the weights of a unit count at least, as in the published code of AGC
_INSTALLED = weakref.WeakKeyDictionary()  # optimizer -> its `Clipping`, or `None`
KINDS = ("clipnorm", "global_clipnorm", "clipvalue", "adaptive", "percentile")


@keras.saving.register_keras_serializable(package="keras_consistency")
class Clipping(Part):
    """What is done to gradients that are too long, just before the optimizer applies them.

    Clipped is what is applied: the sum over the replicas, without the loss scale of mixed precision, and the mean of
    the steps that are accumulated. Keras itself clips each replica's gradient before the sum, so that
    `global_clipnorm=c` lets up to `replicas * c` through.

    Exactly one of these says how:

    Args:
        clipnorm: greatest L2 norm of the gradient of each variable, above 0.
        global_clipnorm: greatest L2 norm of all gradients together, above 0.
        clipvalue: greatest magnitude of each number of the gradient, above 0.
        adaptive: greatest ratio of the norm of a unit's gradient to the norm of its weights, above 0; 0.01 is usual. A
            unit is an output of a layer; a vector, such as a bias, is one unit. Weights count as at least 0.001.
        percentile: the global norm is at most this percentile, in (0, 100), of the norms of the last `history` steps,
            the current one among them; 10 is usual.
        history: number of steps that `percentile` looks at, at least 1.

    Attributes:
        bound: float32 scalar `keras.Variable`: the number that was given. Assign to it to clip otherwise from the next
            step on; nothing is traced again.
        metrics: `gradient_norm` and `clipped_gradient_norm`, L2 norms of all gradients together before and after, and
            `clip_rate`, the share of the steps in which something was clipped: `keras.metrics.Mean`s.

    References:
        - A. Brock et al., [High-performance large-scale image recognition without normalization](
          https://arxiv.org/abs/2102.06171), 2021, equation 3: adaptive clipping.
        - P. Seetharaman et al., [AutoClip: adaptive gradient clipping for source separation networks](
          https://arxiv.org/abs/2007.14469), 2020: percentiles. Deviation: of the last steps, not of all.
    """

    def __init__(
        self, *, clipnorm=None, global_clipnorm=None, clipvalue=None, adaptive=None, percentile=None, history=1000
    ):
        given = dict(zip(KINDS, (clipnorm, global_clipnorm, clipvalue, adaptive, percentile), strict=True))
        chosen = {name: value for name, value in given.items() if value is not None}
        if len(chosen) != 1:
            raise ValueError(f"Give exactly one of {list(KINDS)}. Received: {chosen or None}")
        ((self.kind, value),) = chosen.items()
        high = 100 if self.kind == "percentile" else float("inf")
        check_range(self.kind, value, 0, high, open_low=True, open_high=True)
        check_count("history", history)
        self.clipnorm = clipnorm
        self.global_clipnorm = global_clipnorm
        self.clipvalue = clipvalue
        self.adaptive = adaptive
        self.percentile = percentile
        self.history = history
        self.metrics = []

    def build(self, classes=None):
        """Creates the bound, the metrics and, for `percentile`, the norms of past steps; in the strategy's scope."""
        self.bound = keras.Variable(getattr(self, self.kind), dtype="float32", trainable=False, name="clip_bound")
        self.metrics = [
            keras.metrics.Mean(name=name) for name in ("gradient_norm", "clipped_gradient_norm", "clip_rate")
        ]
        self.variables = (self.bound,)
        if self.kind == "percentile":
            self.norms = keras.Variable(tf.fill([self.history], float("inf")), trainable=False, name="past_norms")
            self.steps = keras.Variable(0, dtype="int64", trainable=False, name="past_norms_count")
            self.variables += (self.norms, self.steps)

    def __call__(self, gradients, variables):
        """Clips.

        Args:
            gradients: list of this replica's gradients, tensors or `IndexedSlices`.
            variables: what they are the gradients of, likewise.

        Returns:
            List of this replica's share of the clipped sum: tensors, the same on each replica.
        """
        total = _sum(gradients)
        before = tf.linalg.global_norm(total)
        clipped = getattr(self, f"_by_{self.kind}")(total, variables, before)
        after = tf.linalg.global_norm(clipped)
        shorter = tf.cast(after < before * (1.0 - 1e-6), tf.float32)
        for metric, value in zip(self.metrics, (before, after, shorter), strict=True):
            metric.update_state(value)
        return [gradient / replicas.count() for gradient in clipped]

    def _by_clipnorm(self, total, variables, norm):
        return [tf.clip_by_norm(gradient, tf.cast(self.bound.value, gradient.dtype)) for gradient in total]

    def _by_global_clipnorm(self, total, variables, norm):
        return tf.clip_by_global_norm(total, self.bound.value, use_norm=norm)[0]

    def _by_clipvalue(self, total, variables, norm):
        return [tf.clip_by_value(gradient, -self.bound.value, self.bound.value) for gradient in total]

    def _by_adaptive(self, total, variables, norm):
        clipped = []
        for gradient, variable in zip(total, variables, strict=True):
            greatest = self.bound.value * tf.maximum(_unit_norms(tf.convert_to_tensor(variable)), _LEAST_WEIGHT)
            clipped.append(gradient * tf.minimum(1.0, tf.math.divide_no_nan(greatest, _unit_norms(gradient))))
        return [tf.where(tf.equal(old, 0.0), old, new) for old, new in zip(total, clipped, strict=True)]

    def _by_percentile(self, total, variables, norm):
        finite = tf.math.is_finite(norm)
        place = tf.cast(self.steps.value % self.history, tf.int32)
        norms = tf.where((tf.range(self.history) == place) & finite, norm, self.norms.value)
        steps = self.steps.value + tf.cast(finite, tf.int64)
        self.norms.assign(norms)
        self.steps.assign(steps)
        # The places that were never written hold infinity, and so are the last.
        known = tf.cast(tf.clip_by_value(steps, 1, self.history), tf.float32)
        position = self.bound.value / 100.0 * (known - 1.0)
        ordered = tf.sort(norms)
        below = tf.gather(ordered, tf.cast(tf.floor(position), tf.int32))
        above = tf.gather(ordered, tf.cast(tf.math.ceil(position), tf.int32))
        bound = below + (above - below) * (position - tf.floor(position))
        return tf.clip_by_global_norm(total, tf.where(tf.math.is_finite(bound), bound, norm), use_norm=norm)[0]


def install(clipping, optimizer):
    """Has an optimizer clip with a `Clipping`, in place of what it does itself; `None` for what it does itself.

    An optimizer's own `clipnorm`, `global_clipnorm` or `clipvalue` then clips the sum over the replicas too.

    Args:
        clipping: a built `Clipping`, or `None`.
        optimizer: a Keras optimizer, or a `LossScaleOptimizer` around one.

    Raises:
        ValueError: where both clip.
    """
    inner = _compat.inner_optimizer(optimizer)
    own = {kind: getattr(inner, kind) for kind in KINDS[:3] if getattr(inner, kind)}
    if own and clipping is not None:
        raise ValueError(
            f"The optimizer clips already, with {own}: leave that out where gradients are clipped by the model or by "
            f"`kc.callbacks.GradientClipping`. Received: {clipping!r}"
        )
    if clipping is not None:
        _compat.clip_with(inner, lambda gradients, variables, keras_clip: clipping(gradients, variables))
    else:
        _compat.clip_with(inner, _clip_sum if own else None)
    _INSTALLED[inner] = clipping


def installed(optimizer, default):
    """What an optimizer clips with, `None` for what it does itself; `default` where nothing was installed."""
    return _INSTALLED.get(_compat.inner_optimizer(optimizer), default)


def _clip_sum(gradients, variables, keras_clip):
    return [gradient / replicas.count() for gradient in keras_clip(_sum(gradients))]


def _sum(gradients):
    # Rows that occur twice in `IndexedSlices` have to be added up before a norm is taken.
    return replicas.all_sum([tf.convert_to_tensor(gradient) for gradient in gradients])


def _unit_norms(value):
    """L2 norm of what leads to each output of a layer, its axis kept with size 1; of a vector, of all."""
    axes = list(range(max(value.shape.rank - 1, min(value.shape.rank, 1))))
    return tf.sqrt(tf.reduce_sum(tf.square(value), axis=axes, keepdims=True))
