"""Attacks, and the recipes that train on them, from the papers' equations in float64 NumPy.

Shapes as in `numpy_reference`. An attack is given the start that was drawn; a recipe is given the attacked inputs.
"""

import numpy as np

from tests.contracts.numpy_reference import (
    cross_entropy,
    gradient,
    kullback_leibler,
    labelled,
    log_softmax,
    softmax,
    term,
    train_step,
)


def length(offset):
    """The L2 norm of each example."""
    return np.linalg.norm(offset, axis=-1, keepdims=True)


def within(offset, radius, norm):
    """The nearest point of the ball around zero."""
    if norm == "linf":
        return np.clip(offset, -radius, radius)
    return offset * np.minimum(1, radius / np.maximum(length(offset), 1e-300))


def pgd(network, inputs, start, divergence, *, radius, step_size, steps, norm, low=-np.inf, high=np.inf):
    """Madry et al. 2018, section 2.1: steps up `divergence`, a function from logits to the loss of each example."""
    perturbed = start
    for _ in range(steps):
        (slope,) = gradient(lambda moved: divergence(network.logits(moved[0])).sum(), [perturbed])
        direction = np.sign(slope) if norm == "linf" else slope / length(slope)
        moved = np.clip(perturbed + step_size * direction, low, high)
        perturbed = inputs + within(moved - inputs, radius, norm)
    return perturbed


def between(first, second):
    """Zhang et al. 2019, equation 5: `KL(softmax(first) || softmax(second))`, of which both may be complex."""
    return (softmax(first) * (log_softmax(first) - log_softmax(second))).sum(-1)


def shared(clean, adversarial, y, share):
    """Goodfellow et al. 2015, section 6: the labelled loss on both, as a function of the network."""
    on_clean, on_adversarial = labelled(clean, y), labelled(adversarial, y)
    return lambda network: share * on_clean(network) + (1 - share) * on_adversarial(network)


def adversarial_training(network, clean, adversarial, y, *, share):
    """Madry et al. 2018, equation 2.1, with the clean share of Goodfellow et al."""
    return train_step(network, shared(clean, adversarial, y, share))


def alp(network, clean, adversarial, y, *, share, scale):
    """Kannan et al. 2018, equation 1, on squared differences of logits."""

    def pairing(moved):
        return ((moved.logits(clean) - moved.logits(adversarial)) ** 2).mean()

    return train_step(network, shared(clean, adversarial, y, share), consistency=(scale, pairing, {}))


def trades(network, x, y, clean, adversarial, *, scale):
    """Zhang et al. 2019, equation 5, with the gradient into both answers."""

    def divergence(moved):
        return between(moved.logits(clean), moved.logits(adversarial)).mean()

    agree = network.logits(clean).argmax(-1) == network.logits(adversarial).argmax(-1)
    return train_step(network, labelled(x, y), consistency=(scale, divergence, {"agreement": agree.mean()}))


def adversarial_consistency(network, teacher, x, y, clean, adversarial, *, scale, ramp):
    """Uesato et al. 2019, section 3.1: the answer on attacked inputs agrees with the teacher's on clean ones."""
    everyone = np.ones(len(clean))
    target = teacher.probabilities(clean)
    agreement = term(network, scale * ramp, kullback_leibler, everyone, target, adversarial)
    return train_step(network, labelled(x, y), consistency=agreement)


def of_labels(y):
    """What an attack on labels raises."""
    return lambda logits: cross_entropy(y, logits)


def of_prediction(network, inputs):
    """What an attack on the network's own answer to the inputs raises."""
    target = network.probabilities(inputs)
    return lambda logits: kullback_leibler(target, logits)
