"""Masking of patches, time steps, words or features."""

import keras
import tensorflow as tf

from keras_consistency.ops import random
from keras_consistency.parts import check_count, check_range
from keras_consistency.perturbations.perturbation import Perturbation, as_floats


@keras.saving.register_keras_serializable(package="keras_consistency")
class Masking(Perturbation):
    """Sets patches of the inputs to a value, each with the same probability: of images squares, of sequences and
    embeddings whole time steps, of plain features single ones.

    For images in the input pipeline there is `kc.augment.image.PatchMasking`.

    Args:
        ratio: probability that a patch is masked, in [0, 1]; 0 is the identity.
        patch_size: side of a patch in pixels, time steps or features, at least 1. Patches at the end may be smaller.
        value: what a masked patch is set to.

    Input shape:
        `(examples, features)`, `(examples, steps, features)` or `(examples, height, width, channels)`.
    """

    def __init__(self, *, ratio, patch_size=1, value=0.0):
        check_range("ratio", ratio, 0, 1)
        check_count("patch_size", patch_size)
        check_range("value", value, float("-inf"), float("inf"), open_low=True, open_high=True)
        self.ratio = ratio
        self.patch_size = patch_size
        self.value = value

    def __call__(self, inputs, function=None, *, seed=None):
        """Perturbs.

        Args:
            inputs: floating-point numbers of one of the shapes above.
            function: not looked at; every perturbation is given it.
            seed: integers `(2,)`; `None` for other draws each time.

        Returns:
            float32 of the shape of `inputs`.

        Raises:
            ValueError: for other inputs.
        """
        del function
        inputs = as_floats(inputs, None)
        if not 2 <= inputs.shape.rank <= 4:
            raise ValueError(
                "`inputs` must be features (examples, features), sequences (examples, steps, features) or images "
                f"(examples, height, width, channels). Received: inputs of shape {inputs.shape}"
            )
        seed = random.fresh() if seed is None else tf.convert_to_tensor(seed)
        masked = inputs.shape.rank - 1 if inputs.shape.rank == 2 else inputs.shape.rank - 2
        sizes = tf.shape(inputs)[1 : 1 + masked]
        mask = random.uniform(seed, tf.shape(inputs)[0], -(-sizes // self.patch_size)) < self.ratio
        for axis in range(masked):
            mask = tf.gather(mask, tf.range(sizes[axis]) // self.patch_size, axis=1 + axis)
        mask = tf.reshape(mask, tf.concat([tf.shape(inputs)[: 1 + masked], [1] * (inputs.shape.rank - 1 - masked)], 0))
        return tf.ensure_shape(tf.where(mask, float(self.value), inputs), inputs.shape)
