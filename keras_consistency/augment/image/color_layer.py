"""The base of the layers that do one operation on the pixel values of each image."""

import tensorflow as tf

from keras_consistency.augment.image.image_layer import ImageLayer, check_fraction
from keras_consistency.ops import color, random
from keras_consistency.ops.each import each


class ColorLayer(ImageLayer):
    """Applies one operation to each image, by an amount drawn for it.

    A subclass has `operation`, one of `keras_consistency.ops.color`, and `neutral`, the amount at which nothing is to
    change: an image with it is returned to the bit. Where the amount is more than a switch, `amounts(draws)` makes one
    of each uniform draw. uint8 images are rounded as in PIL; float images are not rounded.

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

    operation = None
    neutral = 0.0
    settings = ()  # further arguments of the operation, hashable

    def __init__(self, *, probability=1.0, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        self.probability = check_fraction("probability", probability)

    def amounts(self, draws):
        """Amounts made of uniform draws in [0, 1): float32 -> float32, `(batch,)`."""
        return tf.ones_like(draws)

    def get_random_transformation(self, seed, images):
        """What the operation takes: float32, `(batch,)`; `neutral` for an image that is left as it is."""
        chance, draws = tf.unstack(random.uniform(seed, tf.shape(images)[0], (2,)), axis=1)
        return tf.where(chance < self.probability, self.amounts(draws), self.neutral)

    def transform_images(self, images, transformation):
        shared = tuple(tf.constant(number, tf.float32) for number in (*self.value_range, self.neutral))
        static = (self.operation, *self.settings)
        return each(_recolor, images, transformation, shared=shared, static=static)

    def get_config(self):
        return {**super().get_config(), "probability": self.probability}


class EnhancementLayer(ColorLayer):
    """A `ColorLayer` whose amount is an enhancement factor of PIL: 1 changes nothing.

    Args:
        factor: how far from 1 the enhancement factor may lie, in [0, 1]: each image draws its own uniformly between `1
            - factor` and `1 + factor`; 0 is the identity.
        probability, value_range, seed, **kwargs: as for `ColorLayer`.
    """

    neutral = 1.0

    def __init__(self, *, factor=0.5, probability=1.0, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(probability=probability, value_range=value_range, seed=seed, **kwargs)
        self.factor = check_fraction("factor", factor)

    def amounts(self, draws):
        return 1.0 + self.factor * (2.0 * draws - 1.0)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def _recolor(image, amount, low, high, neutral, operation, *settings):
    return tf.cond(
        amount == neutral, lambda: image, lambda: color.recolor(image, amount, low, high, operation, *settings)
    )
