"""Weaken or strengthen the contrast of images."""

import keras

from keras_consistency.augment.image.color_layer import EnhancementLayer
from keras_consistency.ops import color


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomContrast(EnhancementLayer):
    """Move the values of each image towards or away from its mean grey.

    As PIL's `ImageEnhance.Contrast`: factor 0 is the image's mean grey, 1 the identity. Unlike
    `keras.layers.RandomContrast`, which takes the mean of each channel by itself and no uint8 images, it keeps the
    balance of colours and the dtype, and takes a seed a call.

    Args:
        factor: how far from 1 the factor may lie, in [0, 1]: each image draws its own uniformly between `1 - factor`
            and `1 + factor`; 0 is the identity.
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

    operation = staticmethod(color.contrast)
