"""The recipes without memory, from the papers' equations in float64 NumPy; shapes as in `numpy_reference`."""

import numpy as np

from tests.contracts.numpy_reference import (
    cross_entropy,
    entropy,
    hard,
    kullback_leibler,
    labelled,
    sharpen,
    squared_error,
    term,
    train_step,
)


def pseudo_label(network, x, y, weak, *, threshold, scale, ramp):
    """Lee 2013, equation 15, with a threshold: the student's own confident classes as labels."""
    p = network.probabilities(weak)
    mask = (p.max(-1) >= threshold).astype(float)
    return train_step(
        network, labelled(x, y), consistency=term(network, scale * ramp, cross_entropy, mask, hard(p), weak)
    )


def pi_model(network, x, y, first, second, *, scale, ramp):
    """Laine & Aila 2017, algorithm 1, gradient into one side."""
    target = network.probabilities(first)
    everyone = np.ones(len(first))
    return train_step(
        network, labelled(x, y), consistency=term(network, scale * ramp, squared_error, everyone, target, second)
    )


def augmix(network, x, y, views, *, scale):
    """Hendrycks et al. 2020, equation 2: Jensen-Shannon divergence of the answers on the views, all examples."""

    def divergence(moved):
        answers = [moved.probabilities(view) for view in views]
        mean = sum(answers) / len(answers)
        return sum((p * (np.log(p) - np.log(mean))).sum(-1).mean() for p in answers) / len(answers)

    first, *others = [network.logits(view).argmax(-1) for view in views]
    found = {"agreement": np.mean([first == other for other in others])}
    return train_step(network, labelled(x, y), consistency=(scale, divergence, found))


def mean_teacher(network, teacher, x, y, student_view, teacher_view, *, scale, ramp):
    """Tarvainen & Valpola 2017, equation 1."""
    target = teacher.probabilities(teacher_view)
    everyone = np.ones(len(target))
    return train_step(
        network, labelled(x, y), consistency=term(network, scale * ramp, squared_error, everyone, target, student_view)
    )


def uda(network, x, y, weak, strong, *, threshold, temperature, scale, annealed=None):
    """Xie et al. 2020, equation 1, with confidence mask, sharpening and training-signal annealing.

    `annealed` is the paper's `alpha_t`, or `None` for no annealing.
    """
    p = network.probabilities(weak)
    mask = (p.max(-1) >= threshold).astype(float)
    supervised = labelled(x, y)
    if annealed is not None:
        classes = y.shape[-1]
        below = (network.probabilities(x) * y).sum(-1) <= annealed * (1 - 1 / classes) + 1 / classes

        def supervised(moved):
            return (below * cross_entropy(y, moved.logits(x))).sum() / max(below.sum(), 1)

    unlabelled = term(network, scale, kullback_leibler, mask, sharpen(p, temperature), strong)
    return train_step(network, supervised, consistency=unlabelled)


def fixmatch(network, x, y, weak, strong, *, threshold, scale):
    """Sohn et al. 2020, equations 3 and 4."""
    p = network.probabilities(weak)
    mask = (p.max(-1) >= threshold).astype(float)
    return train_step(network, labelled(x, y), consistency=term(network, scale, cross_entropy, mask, hard(p), strong))


def defixmatch(network, x, y, strong_x, weak, strong, *, threshold, scale):
    """Schmutz et al. 2023, equation 6: FixMatch less the same term on the labelled examples, whose bias it removes."""

    def masked(first, second, factor):
        p = network.probabilities(first)
        mask = (p.max(-1) >= threshold).astype(float)
        return term(network, factor, cross_entropy, mask, hard(p), second)

    return train_step(
        network,
        labelled(np.concatenate([x, strong_x]), np.concatenate([y, y])),
        consistency=masked(weak, strong, scale),
        debiasing=masked(x, strong_x, -scale),
    )


def refixmatch(network, x, y, weak, strong, *, threshold, temperature, scale, align):
    """Nguyen 2023: FixMatch where it is sure, elsewhere the divergence from the sharpened answer."""
    p = align(network.probabilities(weak))
    mask = (p.max(-1) >= threshold).astype(float)
    return train_step(
        network,
        labelled(x, y),
        consistency=term(network, scale, cross_entropy, mask, hard(p), strong),
        unconfident=term(network, scale, kullback_leibler, 1 - mask, sharpen(p, temperature), strong),
    )


def noisy_student(network, teacher, x, y, clean, strong, *, hard_targets, threshold, scale):
    """Xie et al. 2020, algorithm 1: a noised student of a fixed teacher that sees clean examples."""
    p = teacher.probabilities(clean)
    mask = (p.max(-1) >= threshold).astype(float)
    target = hard(p) if hard_targets else p
    return train_step(network, labelled(x, y), consistency=term(network, scale, cross_entropy, mask, target, strong))


def mixmatch(network, x, y, first, second, mixing, *, temperature, scale, ramp, align):
    """Berthelot et al. 2019, algorithm 1 and equations 2 to 5.

    `mixing` holds the drawn shares and partners: a matrix whose row `i` is `l'_i e_i + (1 - l'_i) e_{partner(i)}`, over
    the labelled examples, then the first views, then the second.
    """
    guess = sharpen(align((network.probabilities(first) + network.probabilities(second)) / 2), temperature)
    inputs = mixing @ np.concatenate([x, first, second])
    targets = mixing @ np.concatenate([y, guess, guess])
    n = len(x)

    def unlabelled(moved):
        return squared_error(targets[n:], moved.logits(inputs[n:])).mean()

    agree = targets[n:].argmax(-1) == network.logits(inputs[n:]).argmax(-1)
    found = {"mask_rate": 1.0, "agreement": agree.mean()}
    return train_step(network, labelled(inputs[:n], targets[:n]), consistency=(scale * ramp, unlabelled, found))


def ict(network, teacher, x, y, weak, mixing, *, scale, ramp):
    """Verma et al. 2019, algorithm 1: the student between two examples agrees with the teacher's answers at both.

    `mixing` as in `mixmatch`, of the unlabelled examples alone.
    """
    everyone = np.ones(len(weak))
    between = term(network, scale * ramp, squared_error, everyone, mixing @ teacher.probabilities(weak), mixing @ weak)
    return train_step(network, labelled(x, y), consistency=between)


def vat(network, x, y, weak, perturbed, *, scale, ramp, entropy_scale):
    """Miyato et al. 2018, equations 5 to 8, and conditional entropy (equation 17)."""
    target = network.probabilities(weak)
    everyone = np.ones(len(weak))
    terms = {"consistency": term(network, scale * ramp, kullback_leibler, everyone, target, perturbed)}
    if entropy_scale:
        terms["entropy"] = (entropy_scale, lambda moved: entropy(moved.logits(weak)).mean(), {})
    return train_step(network, labelled(x, y), **terms)
