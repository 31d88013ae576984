"""Turn the hues of images."""

import keras

from keras_consistency.augment.image.color_layer import ColorLayer
from keras_consistency.augment.image.image_layer import check_fraction
from keras_consistency.ops import color


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomHue(ColorLayer):
    """Turn the hues of each image round the circle of colours. Images of one channel stay as they are.

    Unlike `keras.layers.RandomHue`, the dtype is kept and a call takes a seed; the strengths mean the same.

    Args:
        factor: largest turn either way as a fraction of half the circle, in [0, 1]: each image draws its own turn
            uniformly; 0 is the identity, 1 all hues.
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

    operation = staticmethod(color.rotate_hue)
    neutral = 0.0

    def __init__(self, *, factor=0.2, probability=1.0, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(probability=probability, value_range=value_range, seed=seed, **kwargs)
        self.factor = check_fraction("factor", factor)

    def amounts(self, draws):
        return self.factor * (draws - 0.5)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
