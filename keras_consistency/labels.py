"""Labels of a classification, whichever way they are written, and the loss that takes them as probabilities."""

import keras
import tensorflow as tf

from keras_consistency.ops.require import guarded


def as_probabilities(labels, classes):
    """Labels as float32 `(examples, classes)`.

    Args:
        labels: class numbers `(examples,)` or `(examples, 1)`, or class probabilities `(examples, classes)`.
        classes: number of classes.
    """
    if labels.shape.rank == 2 and labels.shape[-1] == classes and classes > 1:
        return tf.cast(labels, tf.float32)
    if labels.shape.rank == 2 and labels.shape[-1] != 1:
        raise ValueError(
            f"`y` must hold class numbers, or probabilities of {classes} classes. "
            f"Received: labels of shape {labels.shape}"
        )
    return tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), classes)


def loss_on_probabilities(loss):
    """The counterpart of a compiled loss for labels that are probabilities.

    Args:
        loss: what was given to `compile(loss=...)`: a sparse or plain categorical cross-entropy.

    Returns:
        A `keras.losses.Loss` on class probabilities.

    Raises:
        ValueError: for any other loss.
    """
    resolved = keras.losses.get(loss)
    if isinstance(resolved, keras.losses.SparseCategoricalCrossentropy):
        if resolved.ignore_class is None:
            return keras.losses.CategoricalCrossentropy(from_logits=resolved.from_logits, reduction=resolved.reduction)
    elif isinstance(resolved, keras.losses.CategoricalCrossentropy):
        return resolved
    raise ValueError(
        "`loss` must be `SparseCategoricalCrossentropy` or `CategoricalCrossentropy` (without `ignore_class`) for a "
        f"model with a `mixer`, whose labels become probabilities. Received: loss={loss!r}"
    )


def checked(labels, classes):
    """The labels, in a step that fails where class numbers lie outside `[0, classes)`.

    Args:
        labels: a tensor of labels; any other structure, and labels that are no class numbers, are left alone.
        classes: number of classes.
    """
    if classes is None or not tf.is_tensor(labels) or labels.dtype == tf.string or classes == 1:
        return labels
    if labels.shape.rank == 1 or (labels.shape.rank == 2 and labels.shape[-1] == 1):
        return guarded(
            labels,
            tf.reduce_all((labels >= 0) & (labels < classes)),
            f"`y` must hold class numbers from 0 to {classes - 1}, as the student has {classes} outputs. "
            "Received labels from, to:",
            tf.reduce_min(labels),
            tf.reduce_max(labels),
        )
    return labels
