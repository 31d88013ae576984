"""The recipes' losses, written from the papers' equations in float64 NumPy, for a small network.

Independent of the library and of TensorFlow on purpose. Every loss is a plain formula of the network's parameters; its
gradient comes from a complex step, `Im f(w + ih) / h`, which is exact to rounding and knows no backpropagation.

Shapes: inputs `(examples, features)`, probabilities and one-hot labels `(examples, classes)`, masks and losses
`(examples,)`.
"""

import dataclasses

import numpy as np

_STEP = 1e-30


@dataclasses.dataclass
class Network:
    """`logits = tanh(x W1 + b1) W2 + b2`, with parameters `[W1, b1, W2, b2]`."""

    parameters: list

    def __post_init__(self):
        self.parameters = [np.array(p, np.result_type(p, np.float64)) for p in self.parameters]

    def logits(self, x):
        w1, b1, w2, b2 = self.parameters
        return np.tanh(x @ w1 + b1) @ w2 + b2

    def probabilities(self, x):
        return softmax(self.logits(x))


@dataclasses.dataclass
class Step:
    """What one training step must report, and the gradient of its total loss."""

    metrics: dict
    gradient: list


# Elementary functions, valid for complex logits.


def log_softmax(logits):
    shifted = logits - logits.real.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def softmax(logits):
    return np.exp(log_softmax(logits))


def one_hot(labels, classes):
    return np.eye(classes)[np.asarray(labels)]


def hard(probabilities):
    return one_hot(probabilities.argmax(-1), probabilities.shape[-1])


def sharpen(probabilities, temperature):
    """MixMatch, equation 7."""
    power = probabilities ** (1 / temperature)
    return power / power.sum(-1, keepdims=True)


def cross_entropy(target, logits):
    return -(target * log_softmax(logits)).sum(-1)


def kullback_leibler(target, logits):
    return (target * np.log(np.maximum(target, 1e-300))).sum(-1) + cross_entropy(target, logits)


def squared_error(target, logits):
    """MixMatch, equation 4: the squared L2 distance divided by the number of classes."""
    return ((target - softmax(logits)) ** 2).sum(-1) / target.shape[-1]


def entropy(logits):
    return -(softmax(logits) * log_softmax(logits)).sum(-1)


# Derivatives.


def gradient(loss, arrays):
    """Gradient of `loss(arrays)`, a scalar, in each entry of a list of real arrays."""
    found = []
    for number, array in enumerate(arrays):
        slope = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            moved = [np.array(each, complex) for each in arrays]
            moved[number][place] += 1j * _STEP
            slope[place] = loss(moved).imag / _STEP
        found.append(slope)
    return found


def kl_hessian(network, x):
    """Hessian in `r` of `KL(p(x) || p(x + r))` at `r = 0`, for one example `(features,)`: `J' (diag(p) - p p') J`."""
    x = x[None]
    columns = []
    for feature in range(x.shape[1]):
        moved = x.astype(complex)
        moved[0, feature] += 1j * _STEP
        columns.append(network.logits(moved)[0].imag / _STEP)
    jacobian = np.stack(columns, axis=1)
    p = network.probabilities(x)[0]
    return jacobian.T @ (np.diag(p) - np.outer(p, p)) @ jacobian


# Schedules.


def linear_ramp(step, steps):
    return min(step / steps, 1.0) if steps else 1.0


def sigmoid_ramp(step, steps):
    return np.exp(-5.0 * (1.0 - linear_ramp(step, steps)) ** 2)


# One step.


def train_step(network, supervised, **terms):
    """A step's metrics and gradient.

    Args:
        network: the student.
        supervised: function from a network to the labelled loss.
        **terms: by name: `(scale, loss, metrics)`, the loss a function from a network to the unscaled term.
    """

    def total(parameters):
        moved = Network(parameters)
        return supervised(moved) + sum(scale * loss(moved) for scale, loss, _ in terms.values())

    metrics = {"loss": total(network.parameters), "supervised_loss": supervised(network)}
    for name, (_, loss, found) in terms.items():
        metrics[f"{name}_loss"] = loss(network)
        metrics |= {f"{name}_{key}": value for key, value in found.items()}
    return Step(metrics, gradient(total, network.parameters))


def labelled(x, y, weight=1.0):
    """The labelled loss as a function of the network: the mean over the batch of weighted cross-entropies."""

    return lambda network: (weight * cross_entropy(y, network.logits(x))).mean()


def statistics(network, mask, target, view):
    """Share of the examples that count, and share where the student's class is the target's."""
    agree = target.argmax(-1) == network.logits(view).argmax(-1)
    return {"mask_rate": np.mean(mask > 0), "agreement": np.mean(agree)}


def term(network, scale, divergence, mask, target, view):
    """A term for `train_step`: `mean_i mask_i divergence(target_i, student on view_i)`, over all examples."""

    def loss(moved):
        return (mask * divergence(target, moved.logits(view))).sum() / len(view)

    return scale, loss, statistics(network, mask, target, view)


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


class FlexMatch:
    """Zhang et al. 2021, algorithm 1, with the convex mapping and the threshold warm-up.

    Args:
        classes: number of classes.
        threshold: the fixed threshold.
        examples: size of the data set, or `None` to count those that were seen before.
    """

    def __init__(self, *, classes, threshold, examples):
        self.classes = classes
        self.threshold = threshold
        self.last = {} if examples is None else dict.fromkeys(range(examples), -1)

    def thresholds(self):
        """Equations 6, 7, 11 and 12: the threshold of each class."""
        learnt = np.array([sum(1 for label in self.last.values() if label == c) for c in range(self.classes)], float)
        unused = sum(1 for label in self.last.values() if label == -1)
        largest = max(learnt.max(), unused)
        beta = learnt / largest if largest else np.zeros(self.classes)
        return self.threshold * beta / (2 - beta)

    def mask(self, p, index):
        predicted, confidence = p.argmax(-1), p.max(-1)
        mask = (confidence >= self.thresholds()[predicted]).astype(float)
        for place, label, sure in zip(index, predicted, confidence >= self.threshold, strict=True):
            self.last.setdefault(int(place), -1)
            if sure:
                self.last[int(place)] = int(label)
        return mask

    def __call__(self, network, x, y, weak, strong, index, *, scale):
        p = network.probabilities(weak)
        mask = self.mask(p, index)
        return train_step(
            network, labelled(x, y), consistency=term(network, scale, cross_entropy, mask, hard(p), strong)
        )


def mixmatch(network, x, y, first, second, mixing, *, temperature, scale, ramp):
    """Berthelot et al. 2019, algorithm 1 and equations 2 to 5.

    `mixing` holds the drawn shares and partners: a matrix whose row `i` is `l'_i e_i + (1 - l'_i) e_{partner(i)}`, over
    the labelled examples, then the first views, then the second.
    """
    guess = sharpen((network.probabilities(first) + network.probabilities(second)) / 2, temperature)
    inputs = mixing @ np.concatenate([x, first, second])
    targets = mixing @ np.concatenate([y, guess, guess])
    n = len(x)

    def unlabelled(moved):
        return squared_error(targets[n:], moved.logits(inputs[n:])).mean()

    agree = targets[n:].argmax(-1) == network.logits(inputs[n:]).argmax(-1)
    found = {"mask_rate": 1.0, "agreement": agree.mean()}
    return train_step(network, labelled(inputs[:n], targets[:n]), consistency=(scale * ramp, unlabelled, found))


def vat_direction(network, x, start, *, probe, iterations):
    """Miyato et al. 2018, algorithm 1: unit directions, from random ones `start`, with a probe of finite length."""
    p, direction = network.probabilities(x), start
    for _ in range(iterations):

        def divergence(moved):
            return kullback_leibler(p, network.logits(x + probe * moved[0])).sum()

        (slope,) = gradient(divergence, [direction])
        direction = slope / np.linalg.norm(slope, axis=1, keepdims=True)
    return direction


def vat(network, x, y, weak, perturbed, *, scale, ramp, entropy_scale):
    """Miyato et al. 2018, equations 5 to 8, and conditional entropy (equation 17)."""
    target = network.probabilities(weak)
    everyone = np.ones(len(weak))
    terms = {"consistency": term(network, scale * ramp, kullback_leibler, everyone, target, perturbed)}
    if entropy_scale:
        terms["entropy"] = (entropy_scale, lambda moved: entropy(moved.logits(weak)).mean(), {})
    return train_step(network, labelled(x, y), **terms)


def average(teacher, student, step, *, decay, warmup=True):
    """Tarvainen & Valpola 2017, equation 2, after step `step` (from 1), with `min(decay, (1 + t) / (10 + t))`."""
    if warmup:
        decay = min(decay, (1 + step) / (10 + step))
    return [decay * t + (1 - decay) * s for t, s in zip(teacher, student, strict=True)]


def annealing(shape, step, steps):
    """Xie et al. 2020, training-signal annealing: `alpha_t` of the three schedules."""
    t = min(step / steps, 1.0)
    return {"linear": t, "exp": np.exp((t - 1) * 5), "log": 1 - np.exp(-t * 5)}[shape]
