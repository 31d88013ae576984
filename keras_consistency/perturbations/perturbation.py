"""The base of the perturbations."""

import math

import tensorflow as tf

from keras_consistency.ops.require import guarded
from keras_consistency.parts import Part

# How far rounding may carry a number out of the range that it was scaled to, as a share of it.
_ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


class Perturbation(Part):
    """Base of the perturbations: a function of inputs, of a function of inputs, and of a seed.

    A subclass implements `__call__(inputs, function, *, seed)`, or with `labels`, `__call__(inputs, function, *,
    labels, seed)`. In a `kc.View`, `function` returns the student's logits in inference mode.

    Attributes:
        reads_labels: whether the perturbation is given the labels of the examples.
        takes_integers: whether it takes inputs of integers as they are; in a view, bytes are else made float32.
    """

    reads_labels = False
    takes_integers = False


def check_clip_range(clip_range):
    """`None` or `(low, high)` as a tuple; raises a `ValueError` for anything else."""
    if clip_range is None:
        return None
    if isinstance(clip_range, (list, tuple)) and len(clip_range) == 2:
        numbers = all(isinstance(end, (int, float)) and math.isfinite(end) for end in clip_range)
        if numbers and clip_range[0] < clip_range[1]:
            return tuple(clip_range)
    raise ValueError(
        f"`clip_range` must be `(low, high)`, two finite numbers with low < high. Received: clip_range={clip_range!r}"
    )


def as_floats(inputs, clip_range):
    """The inputs as a float32 tensor `(examples, ...)`, within the clip range.

    Raises:
        ValueError: for inputs that are no floating-point numbers, or not of two axes at least; at run time, for some
            outside the clip range by more than their precision explains.
    """
    inputs = tf.convert_to_tensor(inputs)
    if not inputs.dtype.is_floating:
        raise ValueError(
            "`inputs` of a perturbation must be floating-point numbers, for it to move them by fractions. Cast images "
            "to float32; for token numbers, perturb the embedding: `kc.View(..., at='NAME OF THE EMBEDDING LAYER')`. "
            f"Received: inputs of dtype {inputs.dtype.name}"
        )
    if inputs.shape.rank is None or inputs.shape.rank < 2:
        raise ValueError(
            "`inputs` of a perturbation must be a batch, of shape (examples, ...). Received: inputs of shape "
            f"{inputs.shape}"
        )
    slack = _ROUNDING.get(inputs.dtype.name, 2.0**-21)
    inputs = tf.cast(inputs, tf.float32)
    if clip_range is None:
        return inputs
    low, high = clip_range
    slack *= max(abs(low), abs(high))
    inputs = guarded(
        inputs,
        tf.reduce_all((inputs >= low - slack) & (inputs <= high + slack)),
        f"`inputs` must lie in `clip_range`, [{low}, {high}]: rescale them, or give the range that they have "
        "(`value_range=` of a recipe). Received inputs from, to:",
        tf.reduce_min(inputs),
        tf.reduce_max(inputs),
    )
    return tf.clip_by_value(inputs, low, high)
