"""Invert the bright values of images."""

import keras

from keras_consistency.augment.image.color_layer import ColorLayer
from keras_consistency.augment.image.image_layer import check_fraction
from keras_consistency.ops import color


@keras.saving.register_keras_serializable(package="keras_consistency")
class Solarization(ColorLayer):
    """Invert the values of each image that are not below a threshold drawn for it.

    As PIL's `ImageOps.solarize`. Unlike `keras.layers.Solarization`, which inverts all values unless it is given a
    threshold and turns uint8 into float32, a greater `factor` does more, the dtype is kept and a call takes a seed.

    Args:
        factor: how far below the highest value the threshold may lie, as a fraction of `value_range`, in [0, 1]: at
            strength `s`, uniform between 0 and `factor`, the levels from `256 (1 - s)` of 255 on are inverted; 0 is the
            identity.
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

    operation = staticmethod(color.solarize)
    neutral = 256.0

    def __init__(self, *, factor=0.5, probability=1.0, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(probability=probability, value_range=value_range, seed=seed, **kwargs)
        self.factor = check_fraction("factor", factor)

    def amounts(self, draws):
        return 256.0 * (1.0 - self.factor * draws)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
