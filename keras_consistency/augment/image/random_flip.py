"""Mirror images."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.image_layer import ImageLayer, check_fraction
from keras_consistency.ops import random, warp
from keras_consistency.ops.each import each


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomFlip(ImageLayer):
    """Mirror each image left to right, with a given probability.

    Not for images whose meaning a mirror changes, such as digits and text. Unlike `keras.layers.RandomFlip`, uint8
    images stay uint8 in every execution mode, and what an image draws does not depend on how its batch is split over
    replicas.

    Args:
        probability: in [0, 1]; 0 is the identity.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary with masks and boxes beside them (see `ImageLayer`).

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where `probability` lies outside [0, 1], or images do not fit (see `ImageLayer`).
    """

    def __init__(self, *, probability=0.5, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        self.probability = check_fraction("probability", probability)

    def get_random_transformation(self, seed, images):
        """Which images to flip: bool, `(batch,)`."""
        return random.uniform(seed, tf.shape(images)[0]) < self.probability

    def transform_images(self, images, transformation):
        return each(_flipped, images, transformation)

    def transform_segmentation_masks(self, masks, transformation):
        return each(_flipped, masks, transformation)

    def get_matrices(self, transformation, height, width):
        left = tf.where(transformation, width, 0.0)
        top, bottom = tf.zeros_like(left), tf.fill(tf.shape(left), height)
        return warp.crop(left, top, width - left, bottom, height, width)

    def get_config(self):
        return {**super().get_config(), "probability": self.probability}


def _flipped(image, flip):
    return tf.cond(flip, lambda: tf.reverse(image, axis=[1]), lambda: image)
