"""Virtual adversarial training."""

from keras_consistency import divergences, schedules, targets
from keras_consistency.consistency import Consistency
from keras_consistency.parts import check_range
from keras_consistency.perturbations import VAT
from keras_consistency.recipes import _setting


def vat(
    student,
    *,
    epsilon=6.0,
    xi=0.01,
    power_iterations=1,
    scale=0.3,
    entropy_scale=0.06,
    ramp_up_steps=1000,
    ema=0.999,
    at=None,
    weak=None,
    value_range=(0, 255),
    **kwargs,
):
    """Virtual adversarial training: the student's answer stays as it is under the small change that would move it most.

    Unlabelled loss: `scale(t) * mean KL(p(w) || p(w + r)) + entropy_scale * mean H(p(w))`, `r` of L2 norm `epsilon` on
    inputs scaled to [0, 1].

    Use it where no augmentation is known, as for features and sensor data: it finds the perturbation by itself, at the
    price of a second gradient.

    Args:
        student: built `keras.Model` that returns logits and is differentiable in its (numeric) inputs.
        epsilon: L2 norm of the perturbation where the width of `value_range` counts as 1; with `at`, in the units of
            that layer's output.
        xi: length of the probe as a fraction of the perturbation, in (0, 1]; `None` for the Hessian itself.
        power_iterations: steps of the power method, at least 1.
        scale: factor of the adversarial term after its linear ramp.
        entropy_scale: factor of entropy minimisation; 0 leaves it out.
        ramp_up_steps: length of the ramp in optimizer steps.
        ema: decay of the average of the student that is evaluated; `None` evaluates the student.
        at: name of the student's layer whose output is perturbed in place of the inputs: the embedding of a text.
        weak: view of labelled and unlabelled examples.
        value_range: of the inputs; `None` for the perturbation in their own units.
        **kwargs: `extra_terms=[...]` adds terms; further arguments of `kc.ConsistencyModel`, such as `seed` or `name`.

    Returns:
        A `kc.ConsistencyModel`.

    References:
        - T. Miyato et al., [Virtual adversarial training](https://arxiv.org/abs/1704.03976), 2018. Defaults: A. Oliver
          et al., [Realistic evaluation of deep semi-supervised learning algorithms](https://arxiv.org/abs/1804.09170),
          2018, appendix.
    """
    check_range("epsilon", epsilon, 0, float("inf"), open_high=True)
    check_range("entropy_scale", entropy_scale, 0, float("inf"), open_high=True)
    (weak,) = _setting.views("vat", student, value_range=value_range, weak=weak)
    width = 1 if at is not None or value_range is None else _setting.width_of(value_range)
    perturbation = VAT(radius=epsilon * width, xi=xi, power_iterations=power_iterations)
    terms = [
        Consistency(
            teacher_view=weak,
            student_view=_setting.perturbed(weak, perturbation, at),
            target=targets.Soft(),
            divergence=divergences.KullbackLeibler(),
            scale=_setting.ramp_up(schedules.LinearRampUp, scale=scale, ramp_up_steps=ramp_up_steps),
        )
    ]
    if entropy_scale:
        terms.append(
            Consistency(student_view=weak, divergence=divergences.Entropy(), scale=entropy_scale, name="entropy")
        )
    return _setting.model(student, terms, ema=ema, weak=weak, **kwargs)
