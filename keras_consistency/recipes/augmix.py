"""AugMix."""

from keras_consistency import divergences
from keras_consistency.augment import image
from keras_consistency.consistency import Consistency
from keras_consistency.parts import check_range
from keras_consistency.recipes import _setting


def augmix(
    student,
    *,
    scale=12.0,
    ema=0.999,
    weak=None,
    strong=None,
    value_range=(0, 255),
    **kwargs,
):
    """AugMix: labels on the weak view, and agreement of the weak view with two draws of AugMix.

    Loss of all examples, labelled or not: `scale * JS(p(w), p(a), p(a'))`, `a` and `a'` two draws of the strong view,
    with the gradient into all three.

    Use it where all or most examples have labels, and the model has to bear noise, blur and weather that it never saw,
    with calibrated probabilities. Plain batches `(x, y)` will do.

    Args:
        student: built `keras.Model` that returns logits.
        scale: factor of the divergence, in [0, inf).
        ema: decay of the average of the student that is evaluated; `None` evaluates the student.
        weak: view of the labelled examples, and the first of the three; a layer or a key.
        strong: view that is drawn twice, `kc.augment.image.AugMix` unless given; a layer, or a pair of keys of views
            made in the input pipeline.
        value_range: of the images, for the default views.
        **kwargs: `extra_terms=[...]` adds terms; further arguments of `kc.ConsistencyModel`, such as `seed` or `name`.

    Returns:
        A `kc.ConsistencyModel`.

    References:
        - D. Hendrycks et al., [AugMix: a simple data processing method to improve robustness and uncertainty](
          https://arxiv.org/abs/1912.02781), 2020, equation 2 and its code. Deviations: unlabelled examples take part;
          an average of the student is evaluated.
    """
    check_range("scale", scale, 0, float("inf"), open_high=True)
    given_strong = strong
    weak, strong = _setting.views("augmix", student, value_range=value_range, weak=weak, strong=strong)
    if given_strong is None:
        strong = image.AugMix(value_range=value_range)
    term = Consistency(
        student_view=[weak, *_setting.two_draws(strong, "strong")],
        divergence=divergences.JensenShannon(),
        scale=scale,
        pool="all",
        name="consistency",
    )
    return _setting.model(student, [term], ema=ema, weak=weak, **kwargs)
