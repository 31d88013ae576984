"""Add noise to images."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.image_layer import ImageLayer, check_fraction
from keras_consistency.ops import random
from keras_consistency.ops.each import each


@keras.saving.register_keras_serializable(package="keras_consistency")
class GaussianNoise(ImageLayer):
    """Add Gaussian noise to each value of each image, and clip to `value_range`.

    Unlike `keras.layers.GaussianNoise`, which is made for activations, it keeps to the range of the values and to their
    dtype, a call takes a seed, and what an image draws does not depend on how its batch is split over replicas.

    Args:
        stddev: standard deviation of the noise as a fraction of `value_range`, in [0, 1]; 0 is the identity.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary, in which only the images change (see `ImageLayer`).

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where `stddev` lies outside [0, 1], or images do not fit (see `ImageLayer`).
    """

    def __init__(self, *, stddev=0.1, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        self.stddev = check_fraction("stddev", stddev)

    def get_random_transformation(self, seed, images):
        """A seed for the noise of each image: int64, `(batch,)`."""
        return random.row_seeds(seed, tf.shape(images)[0])

    def transform_images(self, images, transformation):
        low, high = self.value_range
        shared = tuple(tf.constant(number, tf.float32) for number in (low, high, self.stddev * (high - low)))
        return images if self.stddev == 0 else each(_noisy, images, transformation, shared=shared)

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


def _noisy(image, seed, low, high, stddev):
    noise = stddev * random.row_normal(seed, tf.shape(image))
    values = tf.clip_by_value(tf.cast(image, tf.float32) + noise, low, high)
    return tf.cast(tf.round(values) if image.dtype == tf.uint8 else values, image.dtype)
