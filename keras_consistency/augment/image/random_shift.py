"""Shift images by whole pixels."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.image_layer import ImageLayer, check_fraction
from keras_consistency.ops import random, warp
from keras_consistency.ops.each import each


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomShift(ImageLayer):
    """Shift each image by whole pixels along both axes; what comes in is the image's own reflection.

    The same as reflecting the image about its borders and cropping the result at a random place: the weak view of
    FixMatch. All shifts up to `floor(factor * height)` and `floor(factor * width)` pixels are equally likely.

    Args:
        factor: largest shift as a fraction of the image's height and width, in [0, 1]; 0 is the identity.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary with masks and boxes beside them (see `ImageLayer`).

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where `factor` lies outside [0, 1], or images do not fit (see `ImageLayer`).

    References:
        Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", 2020, section
        2.3, https://arxiv.org/abs/2001.07685 (12.5 % along each axis).
    """

    def __init__(self, *, factor=0.125, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        self.factor = check_fraction("factor", factor)

    def get_random_transformation(self, seed, images):
        """Rows down and columns to the right by which to shift: int32, `(batch, 2)`."""
        limits = tf.floor(self.factor * tf.cast(tf.shape(images)[1:3], tf.float32))
        draws = random.uniform(seed, tf.shape(images)[0], (2,))
        return tf.cast(tf.floor(draws * (2.0 * limits + 1.0)) - limits, tf.int32)

    def transform_images(self, images, transformation):
        return each(_shifted, images, transformation)

    def transform_segmentation_masks(self, masks, transformation):
        """Masks are reflected as images are. (Boxes of what is shown twice are not.)"""
        return each(_shifted, masks, transformation)

    def get_matrices(self, transformation, height, width):
        down, right = tf.unstack(tf.cast(transformation, tf.float32), axis=1)
        return warp.translation(-right, -down)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def _shifted(image, offset):
    shape = tf.shape(image)
    height, width = image.shape[0] or shape[0], image.shape[1] or shape[1]
    rows, columns = _reflected_sources(height, offset[0]), _reflected_sources(width, offset[1])
    pixels = tf.reshape(image, [-1, image.shape[2]])
    return tf.gather(pixels, rows[:, None] * width + columns)


def _reflected_sources(size, shift):
    """Where each position along an axis comes from: int32, `(size,)`. The border is not repeated."""
    period = tf.maximum(2 * (size - 1), 1)
    position = (tf.range(size) - shift) % period
    return tf.minimum(position, period - position) % size
