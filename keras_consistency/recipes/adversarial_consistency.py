"""Adversarial consistency."""

from keras_consistency import divergences, schedules, targets, teachers
from keras_consistency.consistency import Consistency
from keras_consistency.recipes import _setting


def adversarial_consistency(
    student,
    *,
    radius=8 / 255,
    step_size=2 / 255,
    steps=7,
    norm="linf",
    random_start=True,
    scale=1.0,
    ramp_up_steps=1000,
    ema=0.999,
    at=None,
    weak=None,
    value_range=(0, 255),
    **kwargs,
):
    """Adversarial consistency: on inputs changed to mislead it, the student agrees with the teacher's answer on the
    clean ones.

    Loss of all examples, labelled or not: `scale(t) mean KL(p_teacher(w) || p(x'))`, the teacher a moving average of
    the student, and `x'` found from the weak view `w` by projected gradient descent away from the student's own answer.

    Use it for robustness from few labels, as nothing in it needs them. As a second term beside FixMatch or any other
    recipe, pass that recipe the same `kc.Consistency` in `extra_terms=[...]`.

    Args:
        student: built `keras.Model` that returns logits and is differentiable in its (numeric) inputs.
        radius: greatest norm of the perturbation where the width of `value_range` counts as 1.
        step_size: length of a step, likewise; `None` for `2.5 * radius / steps`.
        steps: of projected gradient descent, at least 1. Each costs a forward and a backward pass.
        norm: `"linf"` or `"l2"`, of the radius and the steps.
        random_start: size of the ball from which the start is drawn, as a share of the radius, in (0, inf). Above 1,
            more starts lie at the edge of the radius.
        scale: factor of the term after its linear ramp, in [0, inf).
        ramp_up_steps: length of the ramp in optimizer steps.
        ema: decay of the teacher, which is evaluated; `None` for the student as its own teacher.
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
        - T. Miyato et al., [Virtual adversarial training](https://arxiv.org/abs/1704.03976), 2018, which takes one step
          of the power method where this takes several of the gradient, and the student for its teacher.
        - J. Uesato et al., [Are labels required for improving adversarial robustness?](
          https://arxiv.org/abs/1905.13725), 2019, section 3.1: the loss, with a student that teaches itself.
    """
    (weak,) = _setting.views("adversarial_consistency", student, value_range=value_range, weak=weak)
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
        teacher_view=weak,
        student_view=_setting.perturbed(weak, attack, at),
        target=targets.Soft(),
        divergence=divergences.KullbackLeibler(),
        pool="all",
        scale=_setting.ramp_up(schedules.LinearRampUp, scale=scale, ramp_up_steps=ramp_up_steps),
    )
    teacher = teachers.Self() if ema is None else teachers.EMA(decay=_setting.decay(ema))
    return _setting.model(student, [term], weak=weak, **{"teacher": teacher, **kwargs})
