"""The conditions that a model is judged under: functions from a batch to the class probabilities."""

import typing

import tensorflow as tf

from keras_consistency import perturbations
from keras_consistency.embeddings import Shifted
from keras_consistency.evaluation import corruptions as corruptions_
from keras_consistency.evaluation.network import finite
from keras_consistency.parts import check_count, check_part, check_range, per_example

_LEVELS = ("radius", "stddev", "ratio")


class Condition(typing.NamedTuple):
    """A condition.

    Attributes:
        name: what a record calls it.
        level: how hard it is, `None` for a perturbation without a number of that kind.
        ask: function from inputs `(examples, ...)`, class numbers `(examples,)` and the number of the first example to
            the class probabilities, NumPy `(examples, classes)`.
    """

    name: str
    level: float | None
    ask: typing.Callable


def levels(name, values, high=float("inf")):
    """The levels of an argument as a tuple; raises unless they are a list of numbers in [0, high]."""
    if isinstance(values, (str, bytes, dict)) or not hasattr(values, "__iter__"):
        raise TypeError(f"`{name}` must be a list of numbers, `()` for none. Received: {name}={values!r}")
    values = tuple(values)
    for value in values:
        check_range(name, value, 0, high, open_high=high == float("inf"))
    return values


def noises(noise, masking, patch_size, value_range):
    """Gaussian noise and patch masking as `(name, level, perturbation)`; the width of `value_range` counts as 1."""
    check_count("patch_size", patch_size)
    low, high = (0.0, 0.0) if value_range is None else value_range
    width = 1.0 if value_range is None else high - low
    return [
        *(
            ("noise", level, perturbations.GaussianNoise(stddev=level * width, clip_range=value_range))
            for level in levels("noise", noise)
        ),
        *(
            ("masking", level, perturbations.Masking(ratio=level, patch_size=patch_size, value=(low + high) / 2))
            for level in levels("masking", masking, high=1)
        ),
    ]


def attacks(given, radii, steps, value_range):
    """The attacks as `(name, level, perturbation)`.

    Args:
        given: perturbations, a list or a dictionary of lists by name; `None` for FGSM and PGD of these radii.
        radii: where the width of `value_range` counts as 1.
        steps: of PGD.
        value_range: of the inputs, or `None`.
    """
    radii = levels("radii", radii, high=float("inf") if value_range is None else 1)
    check_count("steps", steps)
    if given is None:
        width = 1.0 if value_range is None else value_range[1] - value_range[0]
        kinds = {"FGSM": (perturbations.FGSM, {}), "PGD": (perturbations.PGD, {"steps": steps})}
        return [
            (name, radius, kind(radius=radius * width, clip_range=value_range, **options))
            for name, (kind, options) in kinds.items()
            for radius in radii
        ]
    if not isinstance(given, dict):
        parts = given if isinstance(given, (list, tuple)) else [given]
        given = {type(part).__name__: [each for each in parts if type(each) is type(part)] for part in parts}
    found = []
    for name, parts in given.items():
        for part in parts if isinstance(parts, (list, tuple)) else [parts]:
            check_part("attacks", part, "perturbations", perturbations.Perturbation)
            found.append((str(name), next((getattr(part, key) for key in _LEVELS if hasattr(part, key)), None), part))
    return found


def unperturbed(network):
    """The clean condition."""
    return Condition("clean", None, lambda x, labels, first: network.predict(x))


def perturbed(network, name, level, part, *, at, seed, spec):
    """The condition of a perturbation.

    Args:
        network: the `Network`.
        name, level: of the condition.
        part: of `kc.perturbations`.
        at: name of the layer whose output is perturbed in place of the inputs, or `None`.
        seed: integer; with the number of the first example of a batch, it determines what the batch draws.
        spec: `tf.TensorSpec` of a batch of inputs.
    """

    def apply(inputs, function, labels, seed):
        options = {"labels": labels} if part.reads_labels else {}
        return part(inputs, function, seed=seed, **options)

    def probabilities(x, labels, seed):
        if at is None:
            return network.probabilities(apply(x, network, labels, seed))
        clean, mask = network.inside(at, x)

        def shifted(moved):
            offset = moved - tf.stop_gradient(clean)
            if mask is not None:
                offset = tf.where(per_example(mask, offset.shape.rank), offset, 0.0)
            return Shifted(x, {at: offset})

        def logits(moved):
            return network(shifted(moved))

        logits.compute_dtype = network.compute_dtype
        return network.probabilities(shifted(apply(clean, logits, labels, seed)))

    graph = network.compiled(probabilities, spec, tf.TensorSpec([None], tf.int64), tf.TensorSpec([2], tf.int64))
    return Condition(
        name, level, lambda x, labels, first: finite(graph(x, labels, tf.constant([seed, first], tf.int64)))
    )


def corrupted(network, name, severity, *, value_range, seed):
    """The condition of a corruption of images."""

    def ask(x, labels, first):
        images = corruptions_.corrupt(x, name, severity, value_range=value_range, seed=seed, first=first)
        return network.predict(images)

    return Condition(name, float(severity), ask)
