"""Keep few bits of the values of images."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.color_layer import ColorLayer
from keras_consistency.augment.image.image_layer import check_fraction
from keras_consistency.ops import color


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomPosterization(ColorLayer):
    """Keep the highest bits of each value; how many, each image draws.

    As PIL's `ImageOps.posterize`; float images are rounded to 8 bits first, unless they keep all 8. Unlike
    `keras.layers.RandomPosterization`, which truncates float images, it counts 8 bits among those to draw from, keeps
    the dtype, and takes a seed a call.

    Args:
        factor: bits that may be lost, as a fraction of 7, in [0, 1]: each image keeps a number of bits drawn uniformly
            from 8 - round(7 factor) to 8; 0 is the identity.
        probability: probability that an image is changed at all, in [0, 1]; 0 is the identity.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary, in which only the images change (see `ImageLayer`).

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where `factor` or `probability` lies outside [0, 1], or images do not fit (see `ImageLayer`).
    """

    operation = staticmethod(color.posterize)
    neutral = 8.0

    def __init__(self, *, factor=0.5, probability=1.0, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(probability=probability, value_range=value_range, seed=seed, **kwargs)
        self.factor = check_fraction("factor", factor)

    def amounts(self, draws):
        return 8.0 - tf.floor(draws * (round(7 * self.factor) + 1.0))

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
