"""Erase a rectangle of images."""

import math
import numbers

import keras
import tensorflow as tf

from keras_consistency.augment.image.image_layer import ImageLayer, check_fraction
from keras_consistency.ops import cover, random
from keras_consistency.ops.each import each

_NOISE = "noise"


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomErasing(ImageLayer):
    """Cover one rectangle of each image, of random area, shape and place, with noise or a constant.

    Unlike `keras.layers.RandomErasing`, which draws the probability too, and the two sides independently of each other,
    probability and area are what they are given, the dtype is kept and a call takes a seed.

    Args:
        probability: probability that an image is changed at all, in [0, 1]; 0 is the identity.
        area: two fractions of the image's area in [0, 1], the least and the greatest, between which the rectangle's is
            drawn uniformly.
        aspect_ratio: largest ratio of the rectangle's height to its width, 1 or more; the least is its inverse.
            Between them its logarithm is drawn uniformly, among those at which the rectangle fits into the image;
            where none does, it is as close as can be.
        fill: `"noise"`, which draws each value uniformly from `value_range`, or a constant as a fraction of it.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary, in which only the images change (see `ImageLayer`).

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where `probability`, `area` or `fill` lies outside [0, 1], `area` is not in order, `aspect_ratio` is
            below 1, or images do not fit (see `ImageLayer`).

    References:
        Zhong et al., "Random Erasing Data Augmentation", 2017, algorithm 1, https://arxiv.org/abs/1708.04896.
        Deviations: the paper draws rectangles until one lies inside the image, which makes large ones rarer, and draws
        the ratio itself uniformly, which makes most of them tall.
    """

    def __init__(
        self,
        *,
        probability=0.5,
        area=(0.02, 0.4),
        aspect_ratio=1 / 0.3,
        fill=_NOISE,
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        self.probability = check_fraction("probability", probability)
        valid = isinstance(area, (list, tuple)) and len(area) == 2
        valid = valid and all(isinstance(bound, numbers.Real) for bound in area) and 0 <= area[0] <= area[1] <= 1
        if not valid:
            raise ValueError(
                f"`area` must be two numbers in [0, 1], the least and the greatest, as in (0.02, 0.4). "
                f"Received: area={area}"
            )
        self.area = tuple(area)
        if not isinstance(aspect_ratio, numbers.Real) or not 1 <= aspect_ratio < math.inf:
            raise ValueError(f"`aspect_ratio` must be a number of at least 1. Received: aspect_ratio={aspect_ratio}")
        self.aspect_ratio = aspect_ratio
        if fill != _NOISE and (not isinstance(fill, numbers.Real) or not 0 <= fill <= 1):
            raise ValueError(f'`fill` must be "noise", or a number in [0, 1]. Received: fill={fill}')
        self.fill = fill

    def get_random_transformation(self, seed, images):
        """Where to erase, and what to draw the noise from.

        Returns:
            A dict of `rectangles`, top row, left column, height and width in pixels, int32 `(batch, 4)`, of height and
            width 0 where nothing is erased, and `seeds`, int64 `(batch,)`.
        """
        rows = tf.shape(images)[0]
        size = tf.cast(tf.shape(images)[1:3], tf.float32)
        applied, area, ratio, *places = tf.unstack(random.uniform(random.fold(seed, 0), rows, (5,)), axis=1)
        least, greatest = self.area
        area = least + (greatest - least) * area
        # At the image's own proportions a rectangle of any area fits.
        limit, own, fit = math.log(self.aspect_ratio), tf.math.log(size[0] / size[1]), -tf.math.log(area)
        low, high = (tf.minimum(tf.maximum(own - fit, end), own + fit) for end in (-limit, limit))
        ratio = tf.exp(low + (high - low) * ratio)
        pixels = area * size[0] * size[1]
        sides = tf.sqrt(tf.stack([pixels * ratio, pixels / ratio], axis=1))
        sides = tf.minimum(tf.round(sides), size) * tf.cast(applied < self.probability, tf.float32)[:, None]
        corners = tf.floor(tf.stack(places, axis=1) * (size - sides + 1.0))
        rectangles = tf.cast(tf.concat([corners, sides], axis=1), tf.int32)
        return {"rectangles": rectangles, "seeds": random.row_seeds(random.fold(seed, 1), rows)}

    def transform_images(self, images, transformation):
        noise = self.fill == _NOISE
        shared = (*self.value_range, 0.0 if noise else self.scale(self.fill))
        shared = tuple(tf.constant(number, tf.float32) for number in shared)
        rows = (transformation["rectangles"], transformation["seeds"])
        return each(_erased, images, *rows, shared=shared, static=(noise,))

    def get_config(self):
        return {
            **super().get_config(),
            "probability": self.probability,
            "area": self.area,
            "aspect_ratio": self.aspect_ratio,
            "fill": self.fill,
        }


def _erased(image, rectangle, seed, low, high, fill, noise):
    def erased():
        value = fill
        if noise:
            draws = random.row_uniform(seed, tf.shape(image))
            value = tf.floor(256.0 * draws) if image.dtype == tf.uint8 else low + (high - low) * draws
        return cover.rectangle(image, *tf.unstack(rectangle), tf.cast(value, image.dtype))

    return tf.cond(tf.reduce_all(rectangle[2:] > 0), erased, lambda: image)
