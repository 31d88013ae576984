"""TRADES."""

from keras_consistency import divergences
from keras_consistency.consistency import Consistency
from keras_consistency.parts import check_range
from keras_consistency.recipes import _setting


def trades(
    student,
    *,
    radius=0.031,
    step_size=0.007,
    steps=10,
    norm="linf",
    random_start=0.03,
    scale=6.0,
    ema=0.999,
    at=None,
    weak=None,
    value_range=(0, 255),
    **kwargs,
):
    """TRADES: labels on clean inputs, and answers that stay as they are wherever inputs are changed to move them.

    Loss: `L(y, w) + scale mean KL(p(w) || p(x'))`, with the compiled loss `L` on labelled examples, the mean over all,
    the gradient into both sides, and `x'` found from the weak view `w` by projected gradient descent up this very
    divergence, in inference mode.

    Use it where most or all examples have labels and somebody may change the inputs on purpose: `scale` trades accuracy
    on clean inputs for accuracy on attacked ones. Unlabelled examples take part in the divergence.

    Args:
        student: built `keras.Model` that returns logits and is differentiable in its (numeric) inputs.
        radius: greatest norm of the perturbation where the width of `value_range` counts as 1.
        step_size: length of a step, likewise; `None` for `2.5 * radius / steps`.
        steps: of projected gradient descent, at least 1. Each costs a forward and a backward pass.
        norm: `"linf"` or `"l2"`, of the radius and the steps.
        random_start: size of the ball from which the start is drawn, as a share of the radius, in (0, inf). Larger
            ones make it harder for the student to hide its gradient from the attack; above 1, more starts lie at the
            edge of the radius.
        scale: factor of the divergence, in [0, inf); the paper's `beta`.
        ema: decay of the average of the student that is evaluated; `None` evaluates the student.
        at: name of the student's layer whose output is perturbed in place of the inputs: the embedding of a text. The
            lengths are then in the units of that output.
        weak: view of labelled and unlabelled examples, from which the attack starts; `keras.layers.Identity()` for the
            examples as they are.
        value_range: of the inputs; the attack stays within it. `None` for inputs without a range, in whose units the
            lengths then are.
        **kwargs: `extra_terms=[...]` adds terms; further arguments of `kc.ConsistencyModel`, such as `seed` or `name`.

    Returns:
        A `kc.ConsistencyModel`.

    References:
        - H. Zhang et al., [Theoretically principled trade-off between robustness and accuracy](
          https://arxiv.org/abs/1901.08573), 2019, equation 5 and algorithm 1. Defaults: its CIFAR-10 model; for MNIST
          it takes a radius of 0.3, 40 steps of 0.01 and a scale of 1. Deviations: the start is drawn evenly from 3 % of
          the radius, where the paper draws normal noise of 0.001; unlabelled examples take part; an average of the
          student is evaluated.
    """
    check_range("scale", scale, 0, float("inf"), open_high=True)
    (weak,) = _setting.views("trades", student, value_range=value_range, weak=weak)
    attack = _setting.attack(
        value_range,
        at,
        radius=radius,
        step_size=step_size,
        steps=steps,
        norm=norm,
        random_start=random_start,
        target="prediction",
    )
    term = Consistency(
        student_view=[weak, _setting.perturbed(weak, attack, at)],
        divergence=divergences.Between(divergences.KullbackLeibler()),
        pool="all",
        scale=scale,
    )
    return _setting.model(student, [term], ema=ema, weak=weak, **kwargs)
