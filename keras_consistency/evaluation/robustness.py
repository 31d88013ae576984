"""How robust a model is."""

import keras
import numpy as np

from keras_consistency.evaluation import conditions
from keras_consistency.evaluation import corruptions as corruptions_
from keras_consistency.evaluation import examples as examples_
from keras_consistency.evaluation.calibration import Tally
from keras_consistency.evaluation.examples import class_numbers
from keras_consistency.evaluation.network import Network
from keras_consistency.ops.require import as_value_errors
from keras_consistency.parts import check_count


def robustness(
    model,
    data,
    *,
    noise=(0.05, 0.1, 0.2),
    masking=(0.1, 0.3),
    patch_size=4,
    corruptions=(),
    severities=(1, 2, 3, 4, 5),
    attacks=None,
    radii=(2 / 255, 4 / 255, 8 / 255),
    steps=20,
    value_range=(0, 255),
    at=None,
    prediction=None,
    from_logits=True,
    bins=15,
    batch_size=128,
    seed=0,
    verbose=1,
):
    """Judges a model on examples as they are, with noise, masks and corruptions, and attacked.

    Each batch is read once and put through all conditions, in inference mode; no more than one is in memory. PGD takes
    most of the time, `steps` forward and backward passes for each radius, and so do the corruptions, which are computed
    one image after the other: for all 15 at one severity, some 20 ms for an image of 32 x 32, and a second for one of
    224 x 224.

    Args:
        model: built `keras.Model` that returns `(examples, classes)`; of a `kc.ConsistencyModel`, the network that it
            evaluates is read.
        data: arrays `(x, y)`, or a `tf.data.Dataset` of batches of such. `x` are numbers `(examples, ...)`, of which
            bytes become float32; `y` are class numbers `(examples,)` or probabilities `(examples, classes)`.
        noise: standard deviations of Gaussian noise, where the width of `value_range` counts as 1; `()` for none.
        masking: shares of patches to set to the middle of `value_range`, in [0, 1], as `kc.perturbations.Masking` does.
        patch_size: side of a patch in pixels, time steps or features.
        corruptions: names of image corruptions of the package imagecorruptions (extra `[robustness]`), or `"common"`
            for the 15 of Hendrycks and Dietterich. Images below 32 pixels a side are mirrored at their edges up to
            that size, corrupted and cut out again; grey ones are corrupted as coloured ones, of which green is kept.
        severities: of the corruptions, out of 1 to 5.
        attacks: perturbations of `kc.perturbations`, a list, or a dictionary from names to lists; their lengths are in
            the units of the inputs themselves. `None` for FGSM and PGD, L-infinity and untargeted, at `radii`; `()` for
            none.
        radii: of the attacks by default, where the width of `value_range` counts as 1.
        steps: of PGD by default.
        value_range: lowest and highest value of the inputs, which noise and the default attacks keep to. `None` for
            inputs without a range; lengths are then in their units, and masks zero.
        at: name of a layer of the model whose output noise, masks and attacks change in place of the inputs: the
            embedding of a text. Lengths are then in the units of that output, masks zero; steps that its mask leaves
            out stay where they are.
        prediction: where the model returns a dictionary, the name of the output to read.
        from_logits: whether the model returns logits rather than probabilities. Give logits if you can: where
            probabilities are rounded to 0, attacks find no gradient and look weaker than they are.
        bins: number of bins of the calibration error.
        batch_size: of arrays.
        seed: integer of at least 0. It determines all draws: those of a corruption for each example by its position,
            those of the perturbations for each batch, so that they depend on the batches' size.
        verbose: 1 for a progress bar, 0 for none.

    Returns:
        A list of dictionaries, one a condition, beginning with `"clean"`:

        - `"condition"`: `"clean"`, `"noise"`, `"masking"`, the name of a corruption, or of an attack (that of its class
          in a list);
        - `"level"`: standard deviation, share of patches, severity or radius, as it was given; `None` where there is no
          such number;
        - `"accuracy"`: share of examples whose class is predicted;
        - `"consistency"`: share of examples whose predicted class is that of the clean example;
        - `"ece"`: expected calibration error in [0, 1], see `kc.evaluation.calibration`;
        - `"examples"`: their number.

    Raises:
        ImportError: for corruptions without their package.
        TypeError, ValueError: for data without labels or examples, labels that are no classes of the model, inputs
            outside `value_range` or of the wrong kind for a condition, a model that returns no scores of at least two
            classes, and arguments outside their range.

    Example:

    ```python
    records = kc.evaluation.robustness(model, (x, y), corruptions="common")
    pandas.DataFrame(records)
    ```

    References:
        - D. Hendrycks, T. Dietterich, [Benchmarking neural network robustness to common corruptions and perturbations](
          https://arxiv.org/abs/1903.12261), 2019.
        - C. Guo et al., [On calibration of modern neural networks](https://arxiv.org/abs/1706.04599), 2017, equation 3.
        - A. Madry et al., [Towards deep learning models resistant to adversarial attacks](
          https://arxiv.org/abs/1706.06083), 2018: PGD, of which 20 steps are taken for its CIFAR-10 results.
    """
    if verbose not in (0, 1):
        raise ValueError(f"`verbose` must be 0 or 1. Received: verbose={verbose!r}")
    check_count("seed", seed, minimum=0)
    _check_value_range(value_range)
    names, severities = corruptions_.checked(corruptions, severities)
    space = None if at is not None else value_range
    noises = conditions.noises(noise, masking, patch_size, space)
    attacked = conditions.attacks(attacks, radii, steps, space)
    examples = examples_.read(data, batch_size)
    network = Network(model, prediction=prediction, from_logits=from_logits, spec=examples.spec)
    _check_inputs(examples.spec, noises + attacked, at)
    if names:
        corruptions_.check_images(examples.spec, value_range)

    def perturbed(parts):
        return [conditions.perturbed(network, *part, at=at, seed=seed, spec=examples.spec) for part in parts]

    judged = [
        conditions.unperturbed(network),
        *perturbed(noises),
        *(
            conditions.corrupted(network, name, severity, value_range=value_range, seed=seed)
            for name in names
            for severity in severities
        ),
        *perturbed(attacked),
    ]
    _check_names(judged)
    reads_range = at is None or names
    return _judge(judged, examples, value_range if reads_range else None, bins=bins, verbose=verbose)


def _judge(judged, examples, value_range, *, bins, verbose):
    """The records of the conditions, of which the first is the clean one."""
    tallies = [Tally(bins) for _ in judged]
    steps = None if examples.count is None else examples.count * len(judged)
    bar = keras.utils.Progbar(steps, verbose=verbose, unit_name="condition")
    first = done = 0
    for x, y in examples.batches():
        _check_values(x, value_range, first)
        numbers = clean = None
        for condition, tally in zip(judged, tallies, strict=True):
            with as_value_errors():
                probabilities = condition.ask(x, numbers, first)
            if clean is None:
                numbers, clean = class_numbers(y, probabilities.shape[1]), probabilities.argmax(axis=1)
            tally.add(probabilities, numbers, clean)
            done += 1
            bar.update(done, finalize=False)
        first += len(x)
    bar.update(done, finalize=True)
    return [
        {
            "condition": condition.name,
            "level": None if condition.level is None else float(condition.level),
            **tally.record(),
        }
        for condition, tally in zip(judged, tallies, strict=True)
    ]


def _check_value_range(value_range):
    pair = isinstance(value_range, (list, tuple)) and len(value_range) == 2
    if value_range is not None and not (pair and value_range[0] < value_range[1]):
        raise ValueError(
            "`value_range` must be `(low, high)` with low < high, or None for inputs without a range. Received: "
            f"value_range={value_range!r}"
        )


def _check_inputs(spec, parts, at):
    """Raises for inputs that the perturbations cannot move."""
    if at is None and parts and not spec.dtype.is_floating:
        raise ValueError(
            "`data` must hold inputs that noise, masks and attacks can move by fractions: cast images to float32 or "
            "uint8; for texts, name the embedding layer by `at=`. Received: inputs of dtype "
            f"{spec.dtype.name}"
        )


def _check_names(judged):
    names = [(condition.name, condition.level) for condition in judged]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise ValueError(
            "`attacks`, `noise` and the other conditions must each have a name and level of their own: leave out "
            "doubles, or give `attacks` as a dictionary with names. Received: "
            f"{double[0]!r} at level {double[1]!r} more than once"
        )


def _check_values(x, value_range, first):
    """Raises for inputs of a batch outside their range, and for a first batch that fills next to nothing of it."""
    if value_range is None or x.dtype != np.float32:
        return
    low, high = value_range
    least, most = x.min(), x.max()
    # An image of bytes that was divided by 255 fills a 255th of their range.
    strange = first == 0 and 0 < most - least <= (high - low) / 250
    if not (low <= least and most <= high) or strange:
        raise ValueError(
            "`value_range` must be the lowest and the highest value that inputs can have, such as (0, 1) for images "
            f"divided by 255, or None for inputs without a range. Received: value_range={value_range!r}, and a batch "
            f"of inputs from {least:g} to {most:g}"
        )
