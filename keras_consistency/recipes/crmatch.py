"""CR-Match."""

from keras_consistency import divergences, targets, weights
from keras_consistency.consistency import Consistency
from keras_consistency.parts import check_range
from keras_consistency.recipes import _setting


def crmatch(
    student,
    *,
    threshold=0.95,
    scale=1.0,
    distance_scale=1.0,
    rotation_scale=1.0,
    ema=0.999,
    weak=None,
    strong=None,
    value_range=(0, 255),
    **kwargs,
):
    """CR-Match: FixMatch whose classes agree while its embeddings tell the views apart, and that predicts rotations.

    Unlabelled loss: `mean 1[max p(w) >= threshold] (scale CE(argmax p(w), p(s)) + distance_scale max(0, cos(z(w),
    z(s)))) + rotation_scale * mean CE(r, p_rotation(w turned by r))`, with the embedding `z` and the number of quarter
    turns `r`, the example's position in the batch modulo 4.

    Use it for photographs, which have an upright position; for digits or textures, set `rotation_scale=0`.

    Args:
        student: built `keras.Model` for square images that returns a dictionary with `"logits"`, `"projection"` and
            `"rotation"`: `kc.heads.attach(student, projection=128, rotation=True)`.
        threshold: least confidence of an example that counts, in [0, 1].
        scale: factor of the classification term.
        distance_scale: factor of the embeddings' term.
        rotation_scale: factor of the rotation term.
        ema: decay of the average of the student that is evaluated; `None` evaluates the student.
        weak: view of the labelled examples, for the targets and for the rotations.
        strong: view that the student learns on.
        value_range: of the images, for the default views.
        **kwargs: `extra_terms=[...]` adds terms; further arguments of `kc.ConsistencyModel`, such as `seed` or `name`.

    Returns:
        A `kc.ConsistencyModel`.

    References:
        - Y. Fan, A. Kukleva, B. Schiele, [Revisiting consistency regularization for semi-supervised learning](
          https://arxiv.org/abs/2112.05825), 2021. Deviations: each example is turned once in a step, where the paper
          turns it all four ways; the embedding is that of `kc.heads.attach`, two layers on the features, where the
          paper has one on the feature map before its pooling.
    """
    _setting.outputs("crmatch", student, "logits", "projection", *(["rotation"] if rotation_scale else []))
    weak, strong = _setting.views("crmatch", student, value_range=value_range, weak=weak, strong=strong)
    check_range("distance_scale", distance_scale, 0, float("inf"), open_high=True)
    check_range("rotation_scale", rotation_scale, 0, float("inf"), open_high=True)
    confident = weights.Confidence(threshold=threshold)
    terms = [
        Consistency(
            teacher_view=weak,
            student_view=strong,
            target=targets.Hard(),
            weight=confident,
            divergence=divergences.CrossEntropy(),
            scale=scale,
            output="logits",
        ),
        Consistency(
            teacher_view=weak,
            student_view=[weak, strong],
            target=targets.Hard(),
            weight=confident,
            divergence=divergences.CosineSimilarity(),
            scale=distance_scale,
            output="logits",
            student_output="projection",
            name="distance",
        ),
    ]
    if rotation_scale:
        terms.append(_setting.rotation(weak, scale=rotation_scale))
    return _setting.model(student, terms, ema=ema, weak=weak, **{"prediction": "logits", **kwargs})
