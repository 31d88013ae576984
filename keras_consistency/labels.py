"""Labels of a classification, whichever way they are written, and the loss that takes them as probabilities."""

import keras
import tensorflow as tf

from keras_consistency.ops.require import guarded


def as_probabilities(labels, classes):
    """Labels as float32 `(examples, classes)`.

    Args:
        labels: class numbers `(examples,)` or `(examples, 1)`, or class probabilities `(examples, classes)`.
        classes: number of classes.

    Raises:
        ValueError: for labels of pixels, and where there are no classes.
    """
    if labels.shape.rank > 2 or classes < 2:
        raise ValueError(
            "`mixer` and `labeled_weight` take `y` with one class an example; a mixer with `labeled=False` leaves `y` "
            f"as it is. Received: labels of shape {labels.shape} for a student with {classes} outputs"
        )
    if labels.shape.rank == 2 and labels.shape[-1] == classes and classes > 1:
        return tf.cast(labels, tf.float32)
    if labels.shape.rank == 2 and labels.shape[-1] != 1:
        raise ValueError(
            f"`y` must hold class numbers, or probabilities of {classes} classes. "
            f"Received: labels of shape {labels.shape}"
        )
    return tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), classes)


def as_targets(labels, output, shape):
    """Labels in the shape of the answers to them, float32: class probabilities, or values.

    Args:
        labels: a tensor, or a dictionary of them by output: class numbers `(examples, ...)` or `(examples, ..., 1)`, or
            what has the shape of the answers already.
        output: name of the output that they belong to, or `None`.
        shape: shape of that output, `(None, ..., classes)`, or `None` where they belong to several.

    Returns:
        Labels `(examples, ..., classes)`, or `None` where none are given for this output, or not in this shape.
    """
    if isinstance(labels, dict):
        labels = labels.get(output)
    if shape is None or not tf.is_tensor(labels) or labels.dtype == tf.string:
        return None
    if labels.shape.rank == len(shape) and labels.shape[-1] == shape[-1]:
        return tf.cast(labels, tf.float32)
    if labels.shape.rank == len(shape) and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, axis=-1)
    if labels.shape.rank != len(shape) - 1:
        return None
    if shape[-1] == 1:
        return tf.cast(labels, tf.float32)[..., tf.newaxis]
    return tf.one_hot(tf.cast(labels, tf.int32), shape[-1])


def loss_on_probabilities(loss):
    """The counterpart of a compiled loss for labels that are probabilities.

    Args:
        loss: what was given to `compile(loss=...)`: a sparse or plain categorical cross-entropy, or a loss that has
            `takes_probabilities`, as those of `kc.losses` do.

    Returns:
        A `keras.losses.Loss` on class probabilities.

    Raises:
        ValueError: for any other loss.
    """
    resolved = keras.losses.get(loss)
    if isinstance(resolved, keras.losses.SparseCategoricalCrossentropy):
        if resolved.ignore_class is None:
            return keras.losses.CategoricalCrossentropy(from_logits=resolved.from_logits, reduction=resolved.reduction)
    elif isinstance(resolved, keras.losses.CategoricalCrossentropy) or getattr(resolved, "takes_probabilities", False):
        return resolved
    raise ValueError(
        "`loss` must be `SparseCategoricalCrossentropy` or `CategoricalCrossentropy` (without `ignore_class`), or a "
        f"loss of `kc.losses`, for a model with a `mixer`, whose labels become probabilities. Received: loss={loss!r}"
    )


def repeated(values, times):
    """A structure of tensors, `None`s left as they are, each as often as asked, one after the other."""
    if times == 1:
        return values
    return keras.tree.map_structure(lambda value: value if value is None else tf.concat([value] * times, 0), values)


def scaled(sample_weight, scales, y_pred):
    """The weights of labels that are there once for each of several views, times a factor of each view.

    A mean over all of them that these weights multiply is the sum over the views of factor times mean.

    Args:
        sample_weight: as Keras takes it, `None` for equal weights.
        scales: numbers, one a view.
        y_pred: the predictions, a structure of tensors `(views * examples, ..., classes)`.
    """
    first = keras.tree.flatten(y_pred)[0]
    factors = tf.repeat(tf.constant(scales, tf.float32) * len(scales), tf.shape(first)[0] // len(scales))

    def of(weight, rank):
        factor = tf.reshape(factors, tf.concat([[-1], tf.ones([rank - 1], tf.int32)], axis=0))
        return factor if weight is None else factor * tf.cast(weight, tf.float32)

    if sample_weight is None:
        return of(None, first.shape.rank - 1)
    return keras.tree.map_structure(lambda weight: of(weight, weight.shape.rank), sample_weight)


def checked(labels, shape, *, ignored=None):
    """The labels, in a step that fails where class numbers lie outside `[0, classes)`.

    Args:
        labels: a tensor of labels; any other structure, and labels that are no class numbers, are left alone.
        shape: shape of the prediction, `(None, ..., classes)`, or `None` where there are several.
        ignored: a class number that the loss ignores, wherever it lies, or `None`.
    """
    if shape is None or shape[-1] == 1 or not tf.is_tensor(labels) or labels.dtype == tf.string:
        return labels
    classes = shape[-1]
    if labels.shape.rank == len(shape) - 1 or (labels.shape.rank == len(shape) and labels.shape[-1] == 1):
        known = (labels >= 0) & (labels < classes)
        return guarded(
            labels,
            tf.reduce_all(known if ignored is None else known | (labels == tf.cast(ignored, labels.dtype))),
            f"`y` must hold class numbers from 0 to {classes - 1}, as the student has {classes} outputs. "
            "Received labels from, to:",
            tf.reduce_min(labels),
            tf.reduce_max(labels),
        )
    return labels
