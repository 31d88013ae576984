"""Make negatives of images."""

import keras

from keras_consistency.augment.image.color_layer import ColorLayer
from keras_consistency.ops import color


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomInvert(ColorLayer):
    """Invert some images.

    Unlike `keras.layers.RandomInvert`, which draws the probability too and turns uint8 into float32, the probability is
    what it is given, the dtype is kept, a call takes a seed, and `value_range` may start below 0.

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

    operation = staticmethod(color.invert)

    def __init__(self, *, probability=0.5, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(probability=probability, value_range=value_range, seed=seed, **kwargs)
