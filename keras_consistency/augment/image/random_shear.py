"""Shear images."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.geometric_layer import GeometricLayer
from keras_consistency.augment.image.image_layer import GREY, check_fraction
from keras_consistency.ops import random, warp


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomShear(GeometricLayer):
    """Shear each image along both axes, each by a slope drawn uniformly, either way; the centre stays where it is.

    The image is sheared along its columns, then along its rows, so that areas are kept whatever is drawn. Unlike
    `keras.layers.RandomShear`, where the top left corner stays and both slopes have one sign, one `factor` holds for
    both axes; images keep their dtype, and calls take seeds.

    Args:
        factor: largest slope, in [0, 1]: with 0.3, neighbouring rows, and columns, move against each other by up to 0.3
            pixels; 0 is the identity.
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
        factor=0.3,
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
        """Slopes along the rows and along the columns: float32, `(batch, 2)`."""
        return self.factor * (2.0 * random.uniform(seed, tf.shape(images)[0], (2,)) - 1.0)

    @staticmethod
    def matrices(transformation, height, width):
        x, y = tf.unstack(transformation, axis=1)
        right, down = width / 2.0, height / 2.0
        # From the output: along the rows undone first.
        return warp.affine(tf.ones_like(x), x, -x * down, y, 1.0 + x * y, -y * right - x * y * down)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
