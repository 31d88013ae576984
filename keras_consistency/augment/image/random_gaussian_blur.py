"""Blur images."""

import math

import keras

from keras_consistency.augment.image.color_layer import ColorLayer
from keras_consistency.ops import color
from keras_consistency.parts import check_range


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomGaussianBlur(ColorLayer):
    """Blur each image with a Gaussian of a width drawn for it.

    The kernel reaches three times `sigma`; beyond its border an image repeats its outermost pixels. Unlike
    `keras.layers.RandomGaussianBlur`, which draws one width for the whole batch and takes none above one pixel, each
    image has its own, the dtype is kept and a call takes a seed.

    Args:
        sigma: largest standard deviation in pixels, in [0, inf): each image draws its own uniformly between 0 and
            `sigma`; 0 is the identity.
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
        ValueError: where `sigma` lies outside [0, inf) or `probability` outside [0, 1], or images do not fit (see
            `ImageLayer`).

    References:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020, appendix A,
        https://arxiv.org/abs/2002.05709 (0.1 to 2 pixels at 224 × 224, with probability 0.5).
    """

    operation = staticmethod(color.blur)

    def __init__(self, *, sigma=1.0, probability=1.0, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(probability=probability, value_range=value_range, seed=seed, **kwargs)
        check_range("sigma", sigma, 0, float("inf"), open_high=True)
        self.sigma = sigma
        self.settings = (math.ceil(3 * sigma),)

    def amounts(self, draws):
        return self.sigma * draws

    def get_config(self):
        return {**super().get_config(), "sigma": self.sigma}
