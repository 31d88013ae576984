"""Gradient clipping that means the same on any number of replicas."""

import tensorflow as tf

from keras_consistency.ops import replicas


def clip_over_replicas(optimizer, gradients):
    """Gradients for `optimizer.apply_gradients` whose sum over the replicas is clipped as the optimizer says.

    Keras clips each replica's gradient before the sum, so that `global_clipnorm=c` lets up to `replicas * c` through.
    Here the sum is clipped and shared out evenly, after which Keras's own clipping finds nothing more to do.

    Args:
        optimizer: a Keras optimizer, or a `LossScaleOptimizer` around one.
        gradients: list of tensors, `IndexedSlices` or `None`, still scaled by the loss scale.

    Returns:
        The list: unchanged where the optimizer does not clip, only made dense on one replica.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not (inner.clipnorm or inner.global_clipnorm or inner.clipvalue):
        return gradients
    # Keras takes the norm of `IndexedSlices` before it adds up rows that occur twice.
    gradients = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]
    if replicas.count() == 1:
        return gradients
    scale = optimizer.dynamic_scale.value if inner is not optimizer else 1.0
    present = [gradient / scale for gradient in gradients if gradient is not None]
    present = replicas.all_sum(present)
    if inner.clipnorm:
        present = [tf.clip_by_norm(gradient, inner.clipnorm) for gradient in present]
    elif inner.global_clipnorm:
        present, _ = tf.clip_by_global_norm(present, inner.global_clipnorm)
    else:
        present = [tf.clip_by_value(gradient, -inner.clipvalue, inner.clipvalue) for gradient in present]
    shares = iter([gradient * (scale / replicas.count()) for gradient in present])
    return [None if gradient is None else next(shares) for gradient in gradients]
