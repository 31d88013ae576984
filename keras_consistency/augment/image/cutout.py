"""Cover a square of each image."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.image_layer import GREY, ImageLayer, check_fraction
from keras_consistency.ops import cover, random
from keras_consistency.ops.each import each


@keras.saving.register_keras_serializable(package="keras_consistency")
class Cutout(ImageLayer):
    """Cover one square of each image with a constant.

    The square's centre is drawn uniformly over the pixels, so that part of it may fall outside the image.

    Args:
        size: largest side of the square as a fraction of the shorter side of the image, in [0, 1]; 0 is the identity.
        uniform_size: with `True`, each image draws its side uniformly between 0 and `size` (FixMatch's table of
            transformations); with `False` every side is `size` (DeVries and Taylor; 0.5 in FixMatch's code for
            CIFAR-10).
        fill: what covers the image, as a fraction of `value_range`; the default is mid-grey.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`.

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where `size` or `fill` lies outside [0, 1], or images do not fit (see `ImageLayer`).

    References:
        DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017,
        https://arxiv.org/abs/1708.04552.
        Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", 2020, appendix D,
        https://arxiv.org/abs/2001.07685.
    """

    def __init__(self, *, size=0.5, uniform_size=True, fill=GREY, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        self.size = check_fraction("size", size)
        self.uniform_size = bool(uniform_size)
        self.fill = check_fraction("fill", fill)

    def get_random_transformation(self, seed, images):
        """Top row, left column and side of each square, in pixels: int32, `(batch, 3)`. May lie partly outside."""
        shape = tf.shape(images)
        draws = random.uniform(seed, tf.shape(images)[0], (3,))
        centres = tf.cast(tf.floor(draws[:, :2] * tf.cast(shape[1:3], tf.float32)), tf.int32)
        sides = self.size * tf.cast(tf.minimum(shape[1], shape[2]), tf.float32)
        sides = sides * (draws[:, 2:] if self.uniform_size else tf.ones_like(draws[:, 2:]))
        sides = tf.cast(tf.round(sides), tf.int32)
        return tf.concat([centres - sides // 2, sides], axis=1)

    def transform_images(self, images, transformation):
        return each(_covered, images, transformation, shared=(tf.cast(self.scale(self.fill), images.dtype),))

    def get_config(self):
        return {**super().get_config(), "size": self.size, "uniform_size": self.uniform_size, "fill": self.fill}


def _covered(image, square, fill):
    top, left, side = tf.unstack(square)
    return cover.rectangle(image, top, left, side, side, fill)
