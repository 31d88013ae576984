"""Move the sides of images."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.geometric_layer import GeometricLayer
from keras_consistency.augment.image.image_layer import GREY, check_fraction
from keras_consistency.ops import random, warp


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomCropAndPad(GeometricLayer):
    """Move each of an image's four sides in or out, and stretch what lies between them to the size of the image.

    Sides move by fractions of pixels too, each by a distance of its own, drawn uniformly: an image is cropped at some
    sides and padded at others, and its proportions change.

    Args:
        factor: how much of the height, and of the width, can be cut off or added in all, in [0, 1]: each side moves by
            up to half of it; 0 is the identity.
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
        factor=0.25,
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
        """How far top, left, bottom and right side move in, as fractions of the size: float32, `(batch, 4)`."""
        return self.factor * (random.uniform(seed, tf.shape(images)[0], (4,)) - 0.5)

    @staticmethod
    def matrices(transformation, height, width):
        top, left, bottom, right = tf.unstack(transformation, axis=1)
        return warp.crop(left * width, top * height, (1.0 - right) * width, (1.0 - bottom) * height, height, width)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
