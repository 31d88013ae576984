"""Projected gradient descent."""

import keras
import tensorflow as tf

from keras_consistency.ops import norms
from keras_consistency.parts import check_count, check_range
from keras_consistency.perturbations.attack import Attack, gradient


@keras.saving.register_keras_serializable(package="keras_consistency")
class PGD(Attack):
    """Projected gradient descent: several steps up the loss, each brought back into the radius.

    From `x_0`, drawn evenly from the ball around `x`, `x_{i+1} = P(clip(x_i + step_size s(grad loss(x_i))))`, with `s`
    the sign (`"linf"`) or the gradient at length 1 (`"l2"`), and `P` the projection onto the ball. Everything is
    float32 whatever the policy; norms are per example. An example with the gradient zero stays where it is.

    Args:
        radius: greatest norm of the perturbation in the units of the inputs, in [0, inf), and within `clip_range`; 0 is
            the identity.
        steps: at least 1. Each costs a forward and a backward pass.
        step_size: length of a step in the norm, above 0; `None` for `2.5 * radius / steps`.
        norm: `"linf"` or `"l2"`.
        random_start: size of the ball from which the start is drawn, as a share of the radius, in [0, inf). `True` is
            1; `False` or 0 starts at the inputs. Above 1, what is drawn outside the radius is brought back to it: the
            larger, the more starts lie at its edge, and in `"linf"` in its corners, which steps from within seldom
            reach.
        target: what the loss is about, where the function returns logits: `"label"`; `"prediction"`, the answer to the
            unperturbed inputs, which needs no labels but a random start; or `"least_likely"`, the class that this
            answer gives the least probability.
        targeted: whether the perturbation moves towards the target, down the loss.
        clip_range: `(low, high)` in which inputs and perturbed inputs lie, or `None`.

    Example:

    ```python
    attack = kc.perturbations.PGD(radius=0.3, steps=40, step_size=0.01, clip_range=(0, 1))
    adversarial = attack(x, lambda x: loss(y, model(x, training=False)))  # a loss of each example
    adversarial = attack(x, model, labels=y)                              # the same, with the cross-entropy
    ```

    References:
        - A. Madry et al., [Towards deep learning models resistant to adversarial attacks](
          https://arxiv.org/abs/1706.06083), 2018.
    """

    def __init__(
        self,
        *,
        radius,
        steps=10,
        step_size=None,
        norm="linf",
        random_start=True,
        target="label",
        targeted=False,
        clip_range=None,
    ):
        super().__init__(radius=radius, norm=norm, target=target, targeted=targeted, clip_range=clip_range)
        check_count("steps", steps)
        if step_size is not None:
            check_range("step_size", step_size, 0, float("inf"), open_low=True, open_high=True)
        if not isinstance(random_start, bool):
            check_range("random_start", random_start, 0, float("inf"), open_high=True)
        if target == "prediction" and not random_start:
            raise ValueError(
                "`random_start` must be above 0 for target='prediction': at the inputs themselves the loss is lowest, "
                f"and its gradient zero. Received: random_start={random_start!r}"
            )
        self.steps = steps
        self.step_size = step_size
        self.random_start = random_start

    def attack(self, inputs, loss, seed):
        start = inputs
        if self.random_start:
            offset = norms.draw_within(seed, inputs, float(self.random_start) * self.radius, self.norm)
            start = self.limited(inputs + offset, inputs)
        size = 2.5 * self.radius / self.steps if self.step_size is None else self.step_size

        def step(perturbed):
            moved = perturbed + size * norms.steepest(gradient(loss, perturbed), self.norm)
            return (tf.ensure_shape(self.limited(moved, inputs), inputs.shape),)

        if self.steps == 1:
            return step(start)[0]
        return tf.while_loop(lambda _: True, step, (start,), parallel_iterations=1, maximum_iterations=self.steps)[0]
