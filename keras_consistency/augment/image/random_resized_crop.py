"""Crop images to a random area and aspect ratio."""

import math
import numbers

import keras
import tensorflow as tf

from keras_consistency.augment.image.geometric_layer import GeometricLayer
from keras_consistency.augment.image.image_layer import GREY, check_fraction
from keras_consistency.ops import random, warp
from keras_consistency.ops.fused import fused


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomResizedCrop(GeometricLayer):
    """Show a part of each image, of random area, aspect ratio and place, at the size of the image.

    The area is uniform, the logarithm of the aspect ratio is uniform among the ratios that fit into the image, and the
    place is uniform. Nothing is rounded to whole pixels.

    Args:
        factor: how much of an image's area can be cut off, in [0, 1]: the part has at least `1 - factor` of it; 0 is
            the identity.
        aspect_ratio: largest ratio of the part's proportions to the image's, 1 or more; the least is its inverse.
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
        ValueError: where `factor` or `fill` lies outside [0, 1], `aspect_ratio` is below 1, or images do not fit (see
            `ImageLayer`).

    References:
        Szegedy et al., "Going Deeper with Convolutions", 2015, section 6, https://arxiv.org/abs/1409.4842: areas from
        8 % of the image, aspect ratios from 3 / 4 to 4 / 3. Deviations: the ratio is relative to the image's, whose
        size the result keeps, and a part that would not fit is not drawn in the first place.
    """

    def __init__(
        self,
        *,
        factor=0.92,
        aspect_ratio=4 / 3,
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
        if not isinstance(aspect_ratio, numbers.Real) or not 1 <= aspect_ratio < math.inf:
            raise ValueError(f"`aspect_ratio` must be a number of at least 1. Received: aspect_ratio={aspect_ratio}")
        self.aspect_ratio = aspect_ratio

    def get_random_transformation(self, seed, images):
        """Top, left, height and width of the parts, as fractions of the image's size: float32, `(batch, 4)`."""
        draws = random.uniform(seed, tf.shape(images)[0], (4,))
        return _parts(draws, tf.constant(self.factor, tf.float32), tf.constant(math.log(self.aspect_ratio)))

    @staticmethod
    def matrices(transformation, height, width):
        top, left, part_height, part_width = tf.unstack(transformation, axis=1)
        right, bottom = left + part_width, top + part_height
        return warp.crop(left * width, top * height, right * width, bottom * height, height, width)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "aspect_ratio": self.aspect_ratio}


@fused
def _parts(draws, factor, log_ratio):
    """What uniform draws in [0, 1) stand for, as `get_random_transformation` returns it: `(n, 4)` -> `(n, 4)`."""
    area, ratio, top, left = tf.unstack(draws, axis=1)
    area = 1.0 - factor * area
    ratio = tf.exp(tf.minimum(log_ratio, -tf.math.log(area)) * (2.0 * ratio - 1.0))
    height, width = (tf.minimum(tf.sqrt(square), 1.0) for square in (area / ratio, area * ratio))
    return tf.stack([top * (1.0 - height), left * (1.0 - width), height, width], axis=1)
