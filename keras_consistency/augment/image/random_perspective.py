"""Show images in perspective."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.geometric_layer import GeometricLayer
from keras_consistency.augment.image.image_layer import GREY, check_fraction
from keras_consistency.ops import random, warp


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomPerspective(GeometricLayer):
    """Move the four corners of each image, each on its own, and the image with them, as if seen from aside.

    Each corner moves along both axes by distances drawn uniformly, inwards or outwards. Unlike in
    `keras.layers.RandomPerspective`, `factor` is how far corners can move, and not a probability; images keep their
    dtype, and calls take seeds.

    Args:
        factor: in [0, 1]: corners move by up to a quarter of it, as a fraction of the width and of the height (beyond a
            quarter an image could fold); 0 is the identity.
        fill: what is shown from outside the image, as a fraction of `value_range`; the default is mid-grey.
        interpolation: `"bilinear"` or `"nearest"`. Masks always take the nearest pixel.
        mask_fill: what a mask shows from outside, a number that its dtype can hold.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary with masks and boxes beside them (see `ImageLayer`).

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where `factor` or `fill` lies outside [0, 1], or images do not fit (see `ImageLayer`).

    References:
        Heckbert, "Fundamentals of Texture Mapping and Image Warping", 1989, section 2.2.3,
        https://www2.eecs.berkeley.edu/Pubs/TechRpts/1989/5504.html (the map of a square to a quadrilateral).
    """

    affine = False

    def __init__(
        self,
        *,
        factor=0.5,
        fill=GREY,
        interpolation="bilinear",
        mask_fill=0,
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(
            fill=fill, interpolation=interpolation, mask_fill=mask_fill, value_range=value_range, seed=seed, **kwargs
        )
        self.factor = check_fraction("factor", factor)

    def get_random_transformation(self, seed, images):
        """How far the corners move to the right and down, as fractions of the size: float32, `(batch, 4, 2)`.

        The corners are in turn top left, top right, bottom right, bottom left.
        """
        return 0.5 * self.factor * (random.uniform(seed, tf.shape(images)[0], (4, 2)) - 0.5)

    @staticmethod
    def matrices(transformation, height, width):
        corners = transformation + tf.constant([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        units = tf.stack([width, height, tf.ones_like(width)])
        return warp.inverse(_square_to(corners)) * (units[:, None] / units)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def _square_to(corners):
    """The maps of the unit square to quadrilaterals: `(n, 4, 2)`, in the order of the draws -> `(n, 3, 3)`."""
    (x0, x1, x2, x3), (y0, y1, y2, y3) = (tf.unstack(corners[..., k], axis=-1) for k in (0, 1))
    x12, x32, y12, y32 = x1 - x2, x3 - x2, y1 - y2, y3 - y2
    x, y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    area = x12 * y32 - x32 * y12
    g, h = (x * y32 - x32 * y) / area, (x12 * y - x * y12) / area
    rows = (
        [x1 - x0 + g * x1, x3 - x0 + h * x3, x0],
        [y1 - y0 + g * y1, y3 - y0 + h * y3, y0],
        [g, h, tf.ones_like(g)],
    )
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)
