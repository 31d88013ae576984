"""Rotation by quarter turns."""

import keras
import tensorflow as tf

from keras_consistency.ops import replicas
from keras_consistency.perturbations.perturbation import Perturbation


@keras.saving.register_keras_serializable(package="keras_consistency")
class Rotation(Perturbation):
    """Turns each image counter-clockwise by 90 degrees times its position in the global batch modulo 4.

    Every fourth image of a batch stays as it is. `kc.targets.QuarterTurns` gives the number of turns.

    Input shape:
        Square images `(examples, side, side, channels)` of any dtype.

    Raises:
        ValueError: at call, for any other shape.

    References:
        - S. Gidaris et al., [Unsupervised representation learning by predicting image
          rotations](https://arxiv.org/abs/1803.07728), 2018. Deviation: one rotation of each image in a step, not all
          four.
    """

    takes_integers = True

    def __call__(self, inputs, function=None, *, seed=None):
        """Turns.

        Args:
            inputs: images.
            function: not looked at; every perturbation is given it.
            seed: likewise.

        Returns:
            Images of the same shape and dtype.
        """
        del function, seed
        shape = getattr(inputs, "shape", None)
        if shape is None or shape.rank != 4 or shape[1] is None or shape[1] != shape[2]:
            raise ValueError(
                "`Rotation` turns square images (examples, side, side, channels). Give square images, or leave out the "
                f"term that predicts rotations. Received: inputs of shape {shape}"
            )
        rows = tf.shape(inputs)[0]
        turns = (replicas.position() * rows + tf.range(rows)) % 4
        turned = inputs
        for number in (1, 2, 3):
            chosen = tf.reshape(turns == number, [-1, 1, 1, 1])
            turned = tf.where(chosen, tf.image.rot90(inputs, number), turned)
        return turned
