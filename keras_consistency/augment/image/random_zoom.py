"""Zoom images."""

import math

import keras
import tensorflow as tf

from keras_consistency.augment.image.geometric_layer import GeometricLayer
from keras_consistency.augment.image.image_layer import GREY, check_fraction
from keras_consistency.ops import random, warp


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomZoom(GeometricLayer):
    """Enlarge or shrink each image about its centre; height and width stay in proportion.

    Unlike `keras.layers.RandomZoom`, the logarithm of the magnification is uniform, so that images are as often
    enlarged as shrunk, and by as much; images keep their dtype, and calls take seeds.

    Args:
        factor: in [0, 1]: with 0.2, images become up to 1.2 times as large or as small, and with 1 up to twice; 0 is
            the identity.
        fill: what is shown from outside the image, as a fraction of `value_range`; the default is mid-grey.
        interpolation: `"bilinear"` or `"nearest"`. Masks always take the nearest pixel.
        mask_fill: what a mask shows from outside, a number that its dtype can hold.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary with masks and boxes beside them (see `ImageLayer`).

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where `factor` or `fill` lies outside [0, 1], or images do not fit (see `ImageLayer`).
    """

    def __init__(
        self,
        *,
        factor=0.2,
        fill=GREY,
        interpolation="bilinear",
        mask_fill=0,
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(
            fill=fill, interpolation=interpolation, mask_fill=mask_fill, value_range=value_range, seed=seed, **kwargs
        )
        self.factor = check_fraction("factor", factor)

    def get_random_transformation(self, seed, images):
        """Logarithms of the magnifications: float32, `(batch,)`."""
        return math.log1p(self.factor) * (2.0 * random.uniform(seed, tf.shape(images)[0]) - 1.0)

    @staticmethod
    def matrices(transformation, height, width):
        right, bottom = (0.5 * side * (1.0 + tf.exp(-transformation)) for side in (width, height))
        return warp.crop(width - right, height - bottom, right, bottom, height, width)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
