"""Take the colour out of images."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.color_layer import ColorLayer
from keras_consistency.ops import color


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomGrayscale(ColorLayer):
    """Replace the colours of some images by their grey. Images of one channel stay as they are.

    Grey is the luma of ITU-R 601-2, as PIL rounds it. Unlike `keras.layers.RandomGrayscale`, a call takes a seed, and
    what an image draws does not depend on how its batch is split over replicas.

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

    References:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020, appendix A,
        https://arxiv.org/abs/2002.05709 (probability 0.2).
    """

    operation = staticmethod(color.saturate)
    neutral = 1.0

    def __init__(self, *, probability=0.5, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(probability=probability, value_range=value_range, seed=seed, **kwargs)

    def amounts(self, draws):
        return tf.zeros_like(draws)
