"""What attacks share: a loss of each example that they raise, and its gradient in the inputs."""

import tensorflow as tf

from keras_consistency import labels as labels_
from keras_consistency.ops import norms, random
from keras_consistency.ops.require import guarded
from keras_consistency.parts import check_range
from keras_consistency.perturbations.perturbation import Perturbation, as_floats, check_clip_range

TARGETS = ("label", "prediction", "least_likely")


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
        return tf.stop_gradient(self.attack(inputs, self._loss(inputs, function, labels), seed))

    def attack(self, inputs, loss, seed):
        """The perturbed inputs.

        Args:
            inputs: float32 `(examples, ...)`.
            loss: function from inputs like these to what is to be raised, float32 `(examples,)`.
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

    def _loss(self, inputs, function, labels):
        """The function from inputs to what is to be raised."""
        known = None
        if self.target != "label":
            clean = _answer(function, inputs)
            if clean.shape.rank > 1:
                known = tf.stop_gradient(_target(self.target, clean))
        sign = -1.0 if self.targeted else 1.0

        def loss(perturbed):
            answer = _answer(function, perturbed)
            if answer.shape.rank == 1:
                return sign * answer
            target = known if known is not None else _as_target(labels, answer.shape)
            if answer.shape[-1] == 1:
                each = tf.math.squared_difference(answer, target)[..., 0]
            else:
                each = tf.nn.softmax_cross_entropy_with_logits(labels=target, logits=answer)
            return sign * tf.reduce_sum(each, axis=list(range(1, each.shape.rank)))

        return loss


def gradient(loss, inputs):
    """Gradient of a loss in each example, float32 of the shape of `inputs`.

    Raises:
        ValueError: where there is none, or the loss or the gradient is not finite.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        values = loss(inputs)
    found = tape.gradient(values, inputs)
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
    answer = tf.cast(function(inputs), tf.float32)
    if answer.shape.rank is None or answer.shape.rank < 1 or not answer.shape[:1].is_compatible_with(inputs.shape[:1]):
        raise ValueError(
            "`function` must return one loss an example, of shape (examples,), or logits (examples, ..., classes): "
            "leave out the mean over the batch. "
            f"Received: a function that returns shape {answer.shape} for inputs of shape {inputs.shape}"
        )
    return answer


def _target(kind, clean):
    if clean.shape[-1] == 1:
        return clean
    if kind == "prediction":
        return tf.nn.softmax(clean)
    return tf.one_hot(tf.argmin(clean, axis=-1), clean.shape[-1])


def _as_target(labels, shape):
    target = None if labels is None else labels_.as_targets(tf.convert_to_tensor(labels), None, shape)
    if target is None:
        raise ValueError(
            "`labels` must be class numbers or class probabilities for target='label' and a function that returns "
            f"logits of shape {shape}: give them, or take target='prediction', which needs none. Received: "
            f"labels={None if labels is None else tf.convert_to_tensor(labels).shape}"
        )
    return target
