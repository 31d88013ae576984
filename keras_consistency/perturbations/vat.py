"""The virtual adversarial perturbation."""

import keras
import tensorflow as tf

from keras_consistency.ops import norms, random
from keras_consistency.parts import Part, check_count, check_range


@keras.saving.register_keras_serializable(package="keras_consistency")
class VAT(Part):
    """The virtual adversarial perturbation: a step of length `radius` in the direction to which the prediction is most
    sensitive.

    From a random unit direction `d`, each power iteration takes `g = grad_d KL(p(x) || p(x + xi radius d))` and `d = g
    / |g|`; the perturbed input is `x + radius d`. Norms are L2, per example; everything is float32 whatever the policy.

    Deviation: the probe `xi` is a fraction of the radius, not an absolute length. The paper's 1e-6 vanishes in float32
        at image
    sizes; relative to the radius, the probe scales with the inputs. An example whose gradient is exactly zero keeps its
    random direction.

    Args:
        radius: L2 norm of the perturbation in the units of the inputs, in [0, inf); 0 is the identity.
        xi: length of the probe as a fraction of `radius`, in (0, 1].
        power_iterations: at least 1. Each costs a forward and a backward pass.
        clip_range: `(low, high)` into which the perturbed inputs are clipped, or `None`.

    References:
        - T. Miyato et al., [Virtual adversarial training: a regularization method for supervised and semi-supervised
          learning](https://arxiv.org/abs/1704.03976), 2018, algorithm 1.
    """

    def __init__(self, *, radius, xi=0.01, power_iterations=1, clip_range=None):
        check_range("radius", radius, 0, float("inf"), open_high=True)
        check_range("xi", xi, 0, 1, open_low=True)
        check_count("power_iterations", power_iterations)
        if clip_range is not None and not (
            isinstance(clip_range, (list, tuple)) and len(clip_range) == 2 and clip_range[0] < clip_range[1]
        ):
            raise ValueError(f"`clip_range` must be `(low, high)` with low < high. Received: clip_range={clip_range!r}")
        self.radius = radius
        self.xi = xi
        self.power_iterations = power_iterations
        self.clip_range = None if clip_range is None else tuple(clip_range)

    def __call__(self, inputs, logits, *, seed):
        """Perturbs.

        Args:
            inputs: numbers `(examples, ...)`; integers become float32.
            logits: function from inputs like these to logits `(examples, classes)`, differentiable in the inputs.
            seed: integers `(2,)` for the random start.

        Returns:
            float32 of the shape of `inputs`.
        """
        inputs = tf.cast(inputs, tf.float32)
        if self.radius == 0:
            return inputs
        clean = tf.stop_gradient(tf.nn.softmax(tf.cast(logits(inputs), tf.float32)))
        direction = norms.unit_l2(random.normal(seed, tf.shape(inputs)[0], tf.shape(inputs)[1:]))
        direction = tf.ensure_shape(direction, inputs.shape)
        for _ in range(self.power_iterations):
            direction = self._most_sensitive(direction, inputs, clean, logits)
        perturbed = tf.stop_gradient(inputs + self.radius * direction)
        return perturbed if self.clip_range is None else tf.clip_by_value(perturbed, *self.clip_range)

    def _most_sensitive(self, direction, inputs, clean, logits):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(direction)
            answer = tf.cast(logits(inputs + self.xi * self.radius * direction), tf.float32)
            # The entropy of `clean` is constant: cross-entropy has the gradient of the divergence.
            loss = tf.nn.softmax_cross_entropy_with_logits(labels=clean, logits=answer)
        gradient = tape.gradient(loss, direction)
        flat = tf.reshape(gradient, [tf.shape(gradient)[0], -1])
        moved = tf.reduce_any(flat != 0, axis=-1)
        moved = tf.reshape(moved, [-1] + [1] * (inputs.shape.rank - 1))
        return tf.where(moved, norms.unit_l2(gradient), direction)
