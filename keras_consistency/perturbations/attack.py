"""What attacks share: a loss of each example that they raise, and its gradient in the inputs."""

import keras
import tensorflow as tf

from keras_consistency import labels as labels_
from keras_consistency.ops import norms, random
from keras_consistency.ops.require import guarded
from keras_consistency.parts import check_range
from keras_consistency.perturbations.perturbation import Perturbation, as_floats, check_clip_range

TARGETS = ("label", "prediction", "least_likely")

# Greatest derivative in the answer that is handed back into the function. Through a network of gains from 1e-5 to 1e3,
# float16 neither drops nor overflows what comes of it.
_SLOPE = 16.0
# Logarithm of the probability zero, finite so that it can be subtracted.
_NEVER = -1e30


class Attack(Perturbation):
    """Base of the perturbations that follow a gradient. A subclass implements `attack(inputs, loss, seed)`.

    Args:
        radius: greatest norm of the perturbation, in the units of the inputs.
        norm: `"linf"` or `"l2"`, per example.
        target: which class the loss is about where the function returns logits: `"label"`, `"prediction"` or
            `"least_likely"`.
        targeted: whether the loss is lowered instead of raised.
        clip_range: `(low, high)` in which inputs and perturbed inputs lie, or `None`.
    """

    def __init__(self, *, radius, norm, target, targeted, clip_range):
        check_range("radius", radius, 0, float("inf"), open_high=True)
        if norm not in norms.NORMS:
            raise ValueError(f"`norm` must be one of {list(norms.NORMS)}. Received: norm={norm!r}")
        if target not in TARGETS:
            raise ValueError(f"`target` must be one of {list(TARGETS)}. Received: target={target!r}")
        if not isinstance(targeted, bool):
            raise ValueError(f"`targeted` must be True or False. Received: targeted={targeted!r}")
        if target != "label" and targeted != (target == "least_likely"):
            raise ValueError(
                "`targeted` must be True for target='least_likely', which the attack moves towards, and False for "
                f"target='prediction', which it moves away from. Received: targeted={targeted}, target={target!r}"
            )
        self.radius = radius
        self.norm = norm
        self.target = target
        self.targeted = targeted
        self.clip_range = check_clip_range(clip_range)
        if self.clip_range is not None and norm == "linf":
            self._check_radius(1.0)

    @property
    def reads_labels(self):
        return self.target == "label"

    def __call__(self, inputs, function, *, labels=None, seed=None):
        """Perturbs.

        Args:
            inputs: floating-point numbers `(examples, ...)`, within `clip_range`.
            function: from inputs like these, float32, to the loss of each example `(examples,)`, or to logits
                `(examples, ..., classes)`, of which the loss is the cross-entropy (of a single value, the squared
                difference). Differentiable in its argument, and in inference mode.
            labels: for `target="label"` where the function returns logits: class numbers or probabilities.
            seed: integers `(2,)` for the random draws; `None` for other ones each time.

        Returns:
            float32 of the shape of `inputs`, without gradient.

        Raises:
            ValueError: for inputs that are no floating-point numbers or lie outside `clip_range`, a radius longer than
                the range, a function that returns a scalar or NaN or has no gradient in its argument, and labels that
                are missing. Values are not checked under XLA.
        """
        inputs = as_floats(inputs, self.clip_range)
        if self.clip_range is not None and self.norm == "l2":
            self._check_radius((inputs.shape[1:].num_elements() or float("inf")) ** 0.5)
        if self.radius == 0:
            return inputs
        seed = random.fresh() if seed is None else tf.convert_to_tensor(seed)
        return tf.stop_gradient(self.attack(inputs, Loss(self, inputs, function, labels), seed))

    def attack(self, inputs, loss, seed):
        """The perturbed inputs.

        Args:
            inputs: float32 `(examples, ...)`.
            loss: function from inputs like these to what is to be raised, float32 `(examples,)`: a `Loss`, of whose
                gradient only the direction counts.
            seed: integers `(2,)`.
        """
        raise NotImplementedError(f"`{type(self).__name__}` does not implement `attack(inputs, loss, seed)`.")

    def limited(self, perturbed, inputs):
        """The perturbed inputs, brought back into `clip_range` and then into the radius around the inputs."""
        if self.clip_range is not None:
            perturbed = tf.clip_by_value(perturbed, *self.clip_range)
        perturbed = inputs + norms.within(perturbed - inputs, self.radius, self.norm)
        # Rounding may leave the range again, by one step of float32.
        return perturbed if self.clip_range is None else tf.clip_by_value(perturbed, *self.clip_range)

    def _check_radius(self, units):
        low, high = self.clip_range
        if self.radius > units * (high - low):
            raise ValueError(
                f"`radius` must be at most the width of `clip_range`, {units * (high - low):g} in this norm. Received: "
                f"radius={self.radius!r}, clip_range={self.clip_range!r}, norm={self.norm!r}"
            )


class Loss:
    """What an attack raises: a function from inputs `(examples, ...)` to float32 `(examples,)`.

    Its gradient is the loss's times a positive number of each example, which makes the greatest derivative in the
    function's answer the same everywhere. The direction stays, and neither half precision nor an answer of probability
    1 to float32 makes it vanish.

    Args:
        attack: the `Attack` that says what the loss is about.
        inputs: the unperturbed inputs.
        function: from inputs to a loss of each example or to logits.
        labels: of the examples, or `None`.

    Attributes:
        precision: the type that the function computes in as far as can be told, by its answer, by its own policy or by
            that of Keras: `"float16"`, `"bfloat16"` or `"float32"`.
    """

    def __init__(self, attack, inputs, function, labels):
        self._function = function
        self._labels = labels
        self._sign = -1.0 if attack.targeted else 1.0
        self._clean = None
        policies = [keras.config.dtype_policy().compute_dtype, getattr(function, "compute_dtype", None)]
        if attack.target != "label":
            clean = _answer(function, inputs)
            policies.append(clean.dtype.name)
            if clean.shape.rank > 1:
                self._clean = tf.stop_gradient(_aim(attack.target, tf.cast(clean, tf.float32)))
        self.precision = next((half for half in ("bfloat16", "float16") if half in policies), "float32")

    def __call__(self, perturbed):
        answer = tf.cast(_answer(self._function, perturbed), tf.float32)
        if answer.shape.rank == 1:
            values = self._sign * answer
            return _with_slope(values, answer, _SLOPE * self._sign * tf.ones_like(answer))
        aim = _aim_at(self._labels, answer.shape) if self._clean is None else self._clean
        if answer.shape[-1] == 1:
            values, slope = tf.math.squared_difference(answer, aim)[..., 0], answer - aim
        else:
            values = tf.nn.softmax_cross_entropy_with_logits(labels=tf.exp(aim), logits=answer)
            slope = _cross_entropy_slope(aim, tf.nn.log_softmax(answer))
        axes = list(range(1, values.shape.rank))
        return _with_slope(self._sign * tf.reduce_sum(values, axis=axes), answer, self._sign * _of_one_size(slope))

    def curvature(self, inputs, direction):
        """The Hessian of the divergence from the answer to the inputs, at the inputs, times a direction.

        `J^T F J d`, with the Jacobian `J` of the logits and `F = diag(p) - p p^T`: exact, as the divergence and its
        gradient are zero there. Of single values, `J^T J d`.

        Args:
            inputs: the unperturbed inputs, float32 `(examples, ...)`.
            direction: likewise.

        Returns:
            float32 of the same shape, times a positive number of each example.

        Raises:
            ValueError: for a function that returns losses, or has no gradient.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            with tf.autodiff.ForwardAccumulator(inputs, direction) as forward:
                answer = tf.cast(_answer(self._function, inputs), tf.float32)
        if answer.shape.rank == 1:
            raise ValueError(
                "`function` must return logits (examples, ..., classes) for `xi=None`. Received: a function that "
                f"returns shape {answer.shape}"
            )
        slope = forward.jvp(answer)
        if slope is not None and answer.shape[-1] > 1:
            share = tf.nn.softmax(answer)
            slope = share * (slope - tf.reduce_sum(share * slope, axis=-1, keepdims=True))
        if slope is not None:
            found = tape.gradient(answer, inputs, output_gradients=tf.stop_gradient(_of_one_size(slope)))
        return _checked(None if slope is None else found, answer)


def _of_one_size(slope):
    """Derivatives in the answers `(examples, ...)`, the greatest of each example as large as that of any other."""
    axes = list(range(1, slope.shape.rank))
    return _SLOPE * tf.math.divide_no_nan(slope, tf.reduce_max(tf.abs(slope), axis=axes, keepdims=True))


def _with_slope(values, answer, slope):
    """The values `(examples,)`, whose derivative in the answer `(examples, ...)` is the slope."""
    nothing = tf.stop_gradient(slope) * (answer - tf.stop_gradient(answer))
    return tf.stop_gradient(values) + tf.reduce_sum(nothing, axis=list(range(1, answer.shape.rank)))


def _cross_entropy_slope(aim, log_answer):
    """Derivative of the cross-entropy in the logits, times a positive number of each example.

    The difference of two probabilities near 1 is lost to rounding. Those of the other classes are not, measured by the
    greatest of them; and all differences add up to zero.

    Args:
        aim, log_answer: logarithms of probabilities, float32 `(examples, ..., classes)`.
    """
    axes = list(range(1, aim.shape.rank))
    top = tf.one_hot(tf.argmax(aim, axis=-1), aim.shape[-1], on_value=True, off_value=False)
    log_total = tf.reduce_logsumexp(aim, axis=-1, keepdims=True)  # 0, but for a pixel without a label
    log_answer = tf.maximum(log_answer + log_total, _NEVER)
    greatest = tf.reduce_max(tf.where(top, _NEVER, tf.maximum(aim, log_answer)), axis=axes, keepdims=True)
    slope = tf.exp(tf.minimum(log_answer - greatest, 0.0)) - tf.exp(tf.minimum(aim - greatest, 0.0))
    slope = tf.where(top, 0.0, slope)
    return tf.where(top, -tf.reduce_sum(slope, axis=-1, keepdims=True), slope)


def gradient(loss, inputs):
    """Gradient of a loss in each example, float32 of the shape of `inputs`.

    Raises:
        ValueError: where there is none, or the loss or the gradient is not finite.
    """
    inputs = tf.identity(inputs)  # else a function that refers to the very inputs would be moved twice
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        values = loss(inputs)
    return _checked(tape.gradient(values, inputs), values)


def _checked(found, values):
    """The gradient of some values, if there is one and it is finite."""
    if found is None:
        raise ValueError(
            "`function` must be differentiable in its argument: compute all of it in TensorFlow from the inputs that "
            "it is given, without rounding them to integers. Received: a function that has no gradient"
        )
    found = tf.convert_to_tensor(found)
    return guarded(
        found,
        tf.math.is_finite(tf.reduce_sum(values)) & tf.math.is_finite(tf.reduce_sum(tf.abs(found))),
        "`function` must return finite numbers with a finite gradient on inputs within the radius. Received a loss and "
        "a sum of gradients of",
        tf.reduce_sum(values),
        tf.reduce_sum(tf.abs(found)),
    )


def _answer(function, inputs):
    """What the function returns, checked."""
    answer = function(inputs)
    if keras.tree.is_nested(answer):
        raise ValueError(
            "`function` must return one tensor: of several outputs, let it return the logits. Received: a function "
            f"that returns {answer}"
        )
    answer = tf.convert_to_tensor(answer)
    if answer.shape.rank is None or answer.shape.rank < 1 or not answer.shape[:1].is_compatible_with(inputs.shape[:1]):
        raise ValueError(
            "`function` must return one loss an example, of shape (examples,), or logits (examples, ..., classes): "
            "leave out the mean over the batch. "
            f"Received: a function that returns shape {answer.shape} for inputs of shape {inputs.shape}"
        )
    if None not in (answer.shape[0], inputs.shape[0]):
        return answer
    return guarded(
        answer,
        tf.shape(answer)[0] == tf.shape(inputs)[0],
        "`function` must return one loss an example, or logits of each. Received numbers of answers and inputs:",
        tf.shape(answer)[0],
        tf.shape(inputs)[0],
    )


def _aim(kind, clean):
    """What the loss measures the distance to, of a clean answer: values, or logarithms of probabilities."""
    if clean.shape[-1] == 1:
        return clean
    if kind == "prediction":
        return tf.nn.log_softmax(clean)
    return tf.one_hot(tf.argmin(clean, axis=-1), clean.shape[-1], on_value=0.0, off_value=_NEVER)


def _aim_at(labels, shape):
    """The same of labels."""
    target = None if labels is None else labels_.as_targets(tf.convert_to_tensor(labels), None, shape)
    if target is None:
        raise ValueError(
            "`labels` must be class numbers or class probabilities for target='label' and a function that returns "
            f"logits of shape {shape}: give them, or take target='prediction', which needs none. Received: "
            f"labels={None if labels is None else tf.convert_to_tensor(labels).shape}"
        )
    if shape[-1] == 1:
        return target
    return tf.where(target > 0.0, tf.math.log(tf.where(target > 0.0, target, 1.0)), _NEVER)
