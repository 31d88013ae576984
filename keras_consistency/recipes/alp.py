"""Adversarial logit pairing."""

from keras_consistency import divergences
from keras_consistency.consistency import Consistency
from keras_consistency.parts import check_range
from keras_consistency.recipes import _setting


def alp(
    student,
    *,
    radius=8 / 255,
    step_size=2 / 255,
    steps=7,
    norm="linf",
    random_start=True,
    clean_share=0.5,
    scale=0.5,
    ema=0.999,
    at=None,
    weak=None,
    value_range=(0, 255),
    **kwargs,
):
    """Adversarial logit pairing: adversarial training whose logits on an input and on its adversarial version agree.

    Labelled loss: `(1 - clean_share) L(y, x') + clean_share L(y, w) + scale mean (z(w) - z(x'))^2`, with the compiled
    loss `L`, the logits `z`, the mean over examples and classes, the gradient into both logits, and `x'` found from the
    weak view `w` by projected gradient descent up the cross-entropy.

    Use it to trade some accuracy on clean inputs for more on attacked ones. It has been broken on ImageNet by stronger
    attacks than its authors': judge what comes out with an attacker of many steps and restarts.

    Args:
        student: built `keras.Model` that returns logits and is differentiable in its (numeric) inputs.
        radius: greatest norm of the perturbation where the width of `value_range` counts as 1.
        step_size: length of a step, likewise; `None` for `2.5 * radius / steps`.
        steps: of projected gradient descent, at least 1. Each costs a forward and a backward pass.
        norm: `"linf"` or `"l2"`, of the radius and the steps.
        random_start: size of the ball from which the start is drawn, as a share of the radius, in [0, inf), or a
            boolean. Above 1, more starts lie at the edge of the radius.
        clean_share: of the loss on unperturbed examples, in [0, 1].
        scale: factor of the pairing, in [0, inf).
        ema: decay of the average of the student that is evaluated; `None` evaluates the student.
        at: name of the student's layer whose output is perturbed in place of the inputs: the embedding of a text. The
            lengths are then in the units of that output.
        weak: view of the labelled examples, from which the attack starts; `keras.layers.Identity()` for the examples as
            they are.
        value_range: of the inputs; the attack stays within it. `None` for inputs without a range, in whose units the
            lengths then are.
        **kwargs: `extra_terms=[...]` adds terms; further arguments of `kc.ConsistencyModel`, such as `seed` or `name`.

    Returns:
        A `kc.ConsistencyModel`.

    References:
        - H. Kannan, A. Kurakin, I. Goodfellow, [Adversarial logit pairing](https://arxiv.org/abs/1803.06373), 2018,
          equation 1. Deviation: an average of the student is evaluated.
    """
    check_range("clean_share", clean_share, 0, 1)
    check_range("scale", scale, 0, float("inf"), open_high=True)
    lengths = {"radius": radius, "step_size": step_size, "steps": steps, "norm": norm, "random_start": random_start}
    clean, adversarial = _setting.attacked_labels("alp", student, weak=weak, value_range=value_range, at=at, **lengths)
    term = Consistency(
        student_view=[clean, adversarial],
        divergence=divergences.Between(divergences.SquaredDistance()),
        pool="labeled",
        scale=scale,
    )
    scales = {"labeled_scale": [1 - clean_share, clean_share]}
    return _setting.model(student, [term], ema=ema, labeled=[adversarial, clean], **scales, **kwargs)
