"""Stretch the levels of images to the whole range."""

import keras

from keras_consistency.augment.image.color_layer import ColorLayer
from keras_consistency.ops import color


@keras.saving.register_keras_serializable(package="keras_consistency")
class AutoContrast(ColorLayer):
    """Stretch the levels of each image's channels to `value_range`. A channel of one value stays as it is.

    As PIL's `ImageOps.autocontrast`. Unlike `keras.layers.AutoContrast`, it is the identity at inference, and the dtype
    is kept.

    Args:
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
        ValueError: where `probability` lies outside [0, 1], or images do not fit (see `ImageLayer`).
    """

    operation = staticmethod(color.autocontrast)
