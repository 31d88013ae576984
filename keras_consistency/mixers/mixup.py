"""MixUp."""

import keras
import tensorflow as tf

from keras_consistency.mixers.mixer import PairMixer, blend
from keras_consistency.ops import random
from keras_consistency.ops.fused import fused

_blend = fused(blend)


@keras.saving.register_keras_serializable(package="keras_consistency")
class MixUp(PairMixer):
    """Convex combinations of each example, and of its target, with those of a random partner from all the batches.

    `l ~ Beta(alpha, alpha)`, `l' = max(l, 1 - l)`, `x' = l' x_1 + (1 - l') x_2`, `q' = l' q_1 + (1 - l') q_2`: the
    larger share stays with the example's own place. Partners are drawn from the global batch, whatever the number of
    replicas.

    Args:
        alpha: in (0, inf).
        labeled: whether to mix the labelled examples with the unlabelled ones (MixMatch), or to leave them as they are
            (interpolation consistency).

    Call arguments:
        inputs: list of tensors `(examples_i, ...)` of equal shapes but for the first axis; integers become float32.
        targets: list of class probabilities `(examples_i, classes)`, or values, float.
        seed: integers `(2,)`; the same seed mixes alike in every mode.

    Returns:
        Two lists, of the same shapes.

    Raises:
        ValueError: where `alpha` is not above 0.
        TypeError: where inputs are not numeric tensors, or targets are not of floats.

    Example:

    By itself, on labelled batches, whose labels become probabilities:

    ```python
    mixer = kc.mixers.MixUp(alpha=0.2)

    def mixed(batch, seed):
        images, labels = batch
        (images,), (labels,) = mixer([images], [tf.one_hot(labels, 10)], seed=seed)
        return images, labels

    seeds = tf.data.Dataset.random(seed=0, rerandomize_each_iteration=True).batch(2)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(10_000).batch(128, drop_remainder=True)
    batches = tf.data.Dataset.zip(batches, seeds).map(mixed, num_parallel_calls=tf.data.AUTOTUNE)
    model.compile("adam", loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(batches)
    ```

    References:
        - H. Zhang et al., [mixup: beyond empirical risk minimization](https://arxiv.org/abs/1710.09412), 2018.
        - D. Berthelot et al., [MixMatch](https://arxiv.org/abs/1905.02249), 2019, equations 8-11.
    """

    def draw(self, seed, inputs):
        """The share of each example's own: float32 `(rows,)` in [0.5, 1]."""
        share = random.shared_beta(seed, [tf.shape(inputs)[0]], self.alpha)
        return tf.maximum(share, 1.0 - share)

    def mix(self, inputs, targets, drawn):
        return _blend(*inputs, drawn), blend(*targets, drawn)
