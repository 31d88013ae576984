"""ReMixMatch."""

from keras_consistency import alignments, divergences, mixers, schedules, targets
from keras_consistency.consistency import Consistency
from keras_consistency.parts import check_range
from keras_consistency.recipes import _setting


def remixmatch(
    student,
    *,
    temperature=0.5,
    alpha=0.75,
    scale=1.5,
    unmixed_scale=0.5,
    rotation_scale=0.5,
    ramp_up_steps=1000,
    momentum=0.99,
    ema=0.999,
    weak=None,
    strong=None,
    value_range=(0, 255),
    **kwargs,
):
    """ReMixMatch: MixMatch whose targets are aligned with the labels and anchored in the weak view, and rotations.

    The target `q` of an unlabelled example is the sharpened answer on the weak view, aligned with the shares of the
    labels. Labelled examples and the views `w`, `s`, `s'` with their targets are mixed by MixUp. Unlabelled loss:
    `scale(t) * mean CE(q', p(mixed)) + unmixed_scale(t) * mean CE(q, p(s)) + rotation_scale * mean CE(r, p_rotation(s
    turned by r))`, with `r` the example's position in the batch modulo 4. Compile with a sparse or plain categorical
    cross-entropy.

    Use it for images at very few labels where MixMatch falls short; for digits or textures, which rotations confuse,
    set `rotation_scale=0`.

    Args:
        student: built `keras.Model` for square images that returns a dictionary with `"logits"` and `"rotation"`:
            `kc.heads.attach(student, rotation=True)`.
        temperature: of the sharpening, in (0, inf).
        alpha: of the Beta distribution of the mixing, in (0, inf).
        scale: factor of the mixed term after its linear ramp.
        unmixed_scale: factor of the unmixed term after the same ramp.
        rotation_scale: factor of the rotation term.
        ramp_up_steps: length of the ramps in optimizer steps.
        momentum: of the alignment's running means, in [0, 1).
        ema: decay of the average of the student that is evaluated; `None` evaluates the student.
        weak: view for the targets.
        strong: view of labelled examples and of unlabelled ones, drawn twice for the latter; a layer, or a pair of keys
            of views made in the input pipeline.
        value_range: of the images, for the default views.
        **kwargs: `extra_terms=[...]` adds terms; further arguments of `kc.ConsistencyModel`, such as `seed` or `name`.

    Returns:
        A `kc.ConsistencyModel`.

    References:
        - D. Berthelot et al., [ReMixMatch: semi-supervised learning with distribution alignment and augmentation
          anchoring](https://arxiv.org/abs/1911.09785), 2020, algorithm 1. Deviations: two strong views, drawn from the
          library's (the paper: eight of CTAugment); the alignment's means are exponential instead of those of the last
          128 batches; one concatenated forward instead of interleaved ones.
    """
    _setting.outputs("remixmatch", student, "logits", *(["rotation"] if rotation_scale else []))
    weak, strong = _setting.views("remixmatch", student, value_range=value_range, weak=weak, strong=strong)
    draws = list(_setting.two_draws(strong, "strong"))
    check_range("unmixed_scale", unmixed_scale, 0, float("inf"), open_high=True)
    check_range("rotation_scale", rotation_scale, 0, float("inf"), open_high=True)
    shared = {
        "teacher_view": weak,
        "target": targets.Soft(temperature=temperature),
        "alignment": alignments.DistributionAlignment(prior="labels", momentum=momentum),
        "divergence": divergences.CrossEntropy(),
        "output": "logits",
    }
    terms = [
        Consistency(
            **shared,
            student_view=[weak, *draws],
            scale=_setting.ramp_up(schedules.LinearRampUp, scale=scale, ramp_up_steps=ramp_up_steps),
        ),
        Consistency(
            **shared,
            student_view=draws[0],
            scale=_setting.ramp_up(schedules.LinearRampUp, scale=unmixed_scale, ramp_up_steps=ramp_up_steps),
            mixed=False,
            name="unmixed",
        ),
    ]
    if rotation_scale:
        terms.append(_setting.rotation(draws[0], scale=rotation_scale))
    return _setting.model(
        student, terms, ema=ema, weak=strong, **{"prediction": "logits", "mixer": mixers.MixUp(alpha=alpha), **kwargs}
    )
