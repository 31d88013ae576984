"""Gaussian noise on any inputs."""

import keras
import tensorflow as tf

from keras_consistency.ops import random
from keras_consistency.parts import check_range
from keras_consistency.perturbations.perturbation import Perturbation, as_floats, check_clip_range


@keras.saving.register_keras_serializable(package="keras_consistency", name="GaussianNoisePerturbation")
class GaussianNoise(Perturbation):
    """Adds normal noise to inputs of any shape, or at an embedding: `x + stddev n`, `n` drawn for each number.

    For images in the input pipeline there is `kc.augment.image.GaussianNoise`.

    Args:
        stddev: standard deviation in the units of the inputs, in [0, inf); 0 is the identity.
        clip_range: `(low, high)` in which inputs and perturbed inputs lie, or `None`.
    """

    def __init__(self, *, stddev, clip_range=None):
        check_range("stddev", stddev, 0, float("inf"), open_high=True)
        self.stddev = stddev
        self.clip_range = check_clip_range(clip_range)

    def __call__(self, inputs, function=None, *, seed=None):
        """Perturbs.

        Args:
            inputs: floating-point numbers `(examples, ...)`, within `clip_range`.
            function: not looked at; every perturbation is given it.
            seed: integers `(2,)`; `None` for other draws each time.

        Returns:
            float32 of the shape of `inputs`.

        Raises:
            ValueError: for inputs that are no floating-point numbers, or lie outside `clip_range`.
        """
        del function
        inputs = as_floats(inputs, self.clip_range)
        seed = random.fresh() if seed is None else tf.convert_to_tensor(seed)
        noise = tf.ensure_shape(random.normal(seed, tf.shape(inputs)[0], tf.shape(inputs)[1:]), inputs.shape)
        perturbed = inputs + self.stddev * noise
        return perturbed if self.clip_range is None else tf.clip_by_value(perturbed, *self.clip_range)
