"""Adversarial training."""

from keras_consistency.parts import check_range
from keras_consistency.recipes import _setting


def adversarial_training(
    student,
    *,
    radius=8 / 255,
    step_size=2 / 255,
    steps=7,
    norm="linf",
    random_start=True,
    clean_share=0.0,
    ema=0.999,
    at=None,
    weak=None,
    value_range=(0, 255),
    **kwargs,
):
    """Adversarial training: the student learns the labels on inputs that were changed to mislead it.

    Labelled loss, the compiled one: `(1 - clean_share) L(y, x') + clean_share L(y, w)`, with `x'` found from the weak
    view `w` by projected gradient descent up the cross-entropy. Unlabelled examples are not looked at, and the compiled
    metrics are those on `x'` (and `w`, where it has a share).

    Use it where all examples have labels and somebody may change the inputs on purpose, and also as the baseline of
    TRADES. The fast gradient sign method is `steps=1, random_start=False, step_size=radius`.

    Args:
        student: built `keras.Model` that returns logits and is differentiable in its (numeric) inputs.
        radius: greatest norm of the perturbation where the width of `value_range` counts as 1.
        step_size: length of a step, likewise; `None` for `2.5 * radius / steps`.
        steps: of projected gradient descent, at least 1. Each costs a forward and a backward pass.
        norm: `"linf"` or `"l2"`, of the radius and the steps.
        random_start: size of the ball from which the start is drawn, as a share of the radius, in [0, inf), or a
            boolean. Above 1, more starts lie at the edge of the radius.
        clean_share: of the loss on unperturbed examples, in [0, 1); 0 saves their forward pass.
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
        - A. Madry et al., [Towards deep learning models resistant to adversarial attacks](
          https://arxiv.org/abs/1706.06083), 2018, equation 2.1. Defaults: its CIFAR-10 model; for MNIST it takes a
          radius of 0.3 and 40 steps of 0.01. Deviation: an average of the student is evaluated.
        - I. Goodfellow, J. Shlens, C. Szegedy, [Explaining and harnessing adversarial examples](
          https://arxiv.org/abs/1412.6572), 2015, section 6: the clean share, there 0.5.
    """
    check_range("clean_share", clean_share, 0, 1, open_high=True)
    lengths = {"radius": radius, "step_size": step_size, "steps": steps, "norm": norm, "random_start": random_start}
    clean, adversarial = _setting.attacked_labels(
        "adversarial_training", student, weak=weak, value_range=value_range, at=at, **lengths
    )
    if not clean_share:
        return _setting.model(student, [], ema=ema, weak=adversarial, **kwargs)
    scales = {"labeled_scale": [1 - clean_share, clean_share]}
    return _setting.model(student, [], ema=ema, labeled=[adversarial, clean], **scales, **kwargs)
