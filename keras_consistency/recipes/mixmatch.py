"""MixMatch."""

from keras_consistency import divergences, mixers, schedules, targets
from keras_consistency.consistency import Consistency
from keras_consistency.recipes import _setting


def mixmatch(
    student,
    *,
    temperature=0.5,
    alpha=0.5,
    alignment=None,
    scale=100.0,
    ramp_up_steps=1000,
    ema=0.999,
    weak=None,
    value_range=(0, 255),
    **kwargs,
):
    """MixMatch: a target guessed from two views, then everything mixed with everything.

    The target of both views of an unlabelled example is the sharpened mean of the student's answers on them. Labelled
    examples and views are mixed by MixUp with partners from all of them. Loss: the cross-entropy of the mixed labelled
    examples, plus `scale(t) * mean mean_c (q_c - p_c)^2` of the mixed views. Compile with a sparse or plain categorical
    cross-entropy.

    Use it for small data sets of images or features whose mixtures make sense, where no strong augmentation is known.
    Its scale wants tuning: with few labels start at a third of the default.

    Args:
        student: built `keras.Model` that returns logits and takes one numeric tensor.
        temperature: of the sharpening, in (0, inf).
        alpha: of the Beta distribution of the mixing, in (0, inf).
        alignment: part of `kc.alignments`, or `None` as in the paper.
        scale: factor of the unlabelled loss after its linear ramp.
        ramp_up_steps: length of the ramp in optimizer steps.
        ema: decay of the average of the student that is evaluated; `None` evaluates the student.
        weak: view of labelled and unlabelled examples, drawn twice for the latter; a layer, or a pair of keys of views
            made in the input pipeline.
        value_range: of the images, for the default view.
        **kwargs: `extra_terms=[...]` adds terms; further arguments of `kc.ConsistencyModel`, such as `seed` or `name`.

    Returns:
        A `kc.ConsistencyModel`.

    References:
        - D. Berthelot et al., [MixMatch: a holistic approach to semi-supervised
          learning](https://arxiv.org/abs/1905.02249), 2019, algorithm 1. Deviation: one concatenated forward; the
          paper's interleaved ones are `forward=kc.forwards.Interleaved()`.
    """
    (weak,) = _setting.views("mixmatch", student, value_range=value_range, weak=weak)
    draws = list(_setting.two_draws(weak))
    term = Consistency(
        teacher_view=draws,
        student_view=draws,
        target=targets.Soft(temperature=temperature),
        alignment=alignment,
        divergence=divergences.SquaredError(),
        scale=_setting.ramp_up(schedules.LinearRampUp, scale=scale, ramp_up_steps=ramp_up_steps),
    )
    return _setting.model(student, [term], ema=ema, weak=weak, **{"mixer": mixers.MixUp(alpha=alpha), **kwargs})
