"""Rotate images."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.geometric_layer import GeometricLayer
from keras_consistency.augment.image.image_layer import GREY, check_fraction
from keras_consistency.ops import random, warp


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomRotation(GeometricLayer):
    """Rotate each image about its centre by an angle drawn uniformly, either way.

    As `keras.layers.RandomRotation`, but that images keep their dtype, calls take seeds, what comes in is `fill`, and
    the default is RandAugment's 30 degrees.

    Args:
        factor: largest angle as a fraction of a whole turn, in [0, 1], as in Keras: with 0.1, images are rotated by up
            to 36 degrees clockwise or counter-clockwise; 0.5 reaches every angle, and 0 is the identity.
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
        factor=30 / 360,
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
        """Degrees counter-clockwise: float32, `(batch,)`."""
        return 360.0 * self.factor * (2.0 * random.uniform(seed, tf.shape(images)[0]) - 1.0)

    @staticmethod
    def matrices(transformation, height, width):
        return warp.rotation(transformation, height, width)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
