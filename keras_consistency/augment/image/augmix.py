"""AugMix."""

import keras
import tensorflow as tf

from keras_consistency.augment.image import operations as engine
from keras_consistency.augment.image.image_layer import GREY, check_fraction
from keras_consistency.augment.image.policy import Policy
from keras_consistency.ops import random, replicas
from keras_consistency.ops.each import each


@keras.saving.register_keras_serializable(package="keras_consistency")
class AugMix(Policy):
    """Mix each image with several versions of it, each made by a short chain of operations.

    `m x + (1 - m) sum_i w_i x_i`, with `m ~ Beta(alpha, alpha)` and `w ~ Dirichlet(alpha, …, alpha)` drawn for each
    image. A version `x_i` is made by one to `depth` operations, each drawn uniformly, at a strength drawn uniformly
    between 0 and `severity`. They are those that no corruption of the usual robustness benchmarks contains; at strength
    `s` in [0, 1]:

    | operation | at strength s |
    |--|--|
    | autocontrast, equalize | as in PIL, whole for every s above 0 |
    | posterize | keeps 4 - 4 s bits, rounded |
    | rotate | by 30 s degrees, either way, about the centre |
    | solarize | inverts the values from 256 (1 - s) on |
    | shear_x, shear_y | by 0.3 s, either way; the top left corner stays |
    | translate_x, translate_y | by a third of s of the width or height, either way |

    All is done at 8 bits a channel, whatever the dtype (see `Policy`); the mixture is rounded to nearest.

    Args:
        severity: largest strength, in [0, 1]; 0.3 in the paper (3 of 10), 0 is the identity.
        width: number of versions, 1 or more.
        depth: most operations of a version, 1 or more.
        alpha: of the Beta and the Dirichlet distribution, in (0, inf).
        fill: what is shown from outside the image, as a fraction of `value_range`; the default is mid-grey.
        interpolation: `"bilinear"` or `"nearest"`.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`. Not with masks or boxes, as a mixture has no one place for them.

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where an argument lies outside its range, images do not fit (see `ImageLayer`), or masks or boxes
            come with them.

    References:
        Hendrycks et al., "AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty", 2020,
        https://arxiv.org/abs/1912.02781, algorithm 1. Deviations: what comes in from outside is grey, not black, and
        is not recoloured (see `Policy`); strengths are drawn down to 0, not to 0.01.
    """

    OPERATIONS = {
        "autocontrast": 1.0,
        "equalize": 1.0,
        "posterize": 0.0,
        "rotate": (-30.0, 30.0),
        "solarize": 0.0,
        "shear_x": (-0.3, 0.3),
        "shear_y": (-0.3, 0.3),
        "translate_x": (-1 / 3, 1 / 3),
        "translate_y": (-1 / 3, 1 / 3),
    }
    STARTS = {"autocontrast": 1.0, "equalize": 1.0, "posterize": 4.0}

    def __init__(
        self,
        *,
        severity=0.3,
        width=3,
        depth=3,
        alpha=1.0,
        fill=GREY,
        interpolation="bilinear",
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(fill=fill, interpolation=interpolation, value_range=value_range, seed=seed, **kwargs)
        self.severity = check_fraction("severity", severity)
        for name, value in (("width", width), ("depth", depth)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be an integer, 1 or more. Received: {name}={value}")
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < float("inf"):
            raise ValueError(f"`alpha` must be a number in (0, inf). Received: alpha={alpha}")
        self.width = width
        self.depth = depth
        self.alpha = alpha

    def get_random_transformation(self, seed, images):
        """Draw each image's chains, and how they are mixed.

        Returns:
            A dict of `operations`, int32 positions in `OPERATIONS`, `strengths`, float32 in [0, severity], 0 beyond the
            end of a chain, and `signs`, float32, -1 or 1, all of shape `(batch, width * depth)`, chain by chain;
            `weights` of the versions, float32 `(batch, width)`; and `shares` of the image itself, float32 `(batch,)`.
        """
        rows = tf.shape(images)[0]
        drawn = self.draw(random.fold(seed, 0), images, self.width * self.depth)
        lengths = 1.0 + tf.floor(random.uniform(random.fold(seed, 1), rows, (self.width, 1)) * self.depth)
        within = tf.reshape(tf.range(self.depth, dtype=tf.float32) < lengths, [-1, self.width * self.depth])
        shares = random.shared_beta(random.fold(seed, 3), [rows * replicas.count()], self.alpha)
        return {
            **drawn,
            "strengths": tf.where(within, self.severity * drawn["strengths"], 0.0),
            "weights": random.dirichlet(random.fold(seed, 2), rows, self.width, self.alpha),
            "shares": replicas.local_rows(shares),
        }

    def transform_images(self, images, transformation):
        if self.severity == 0:
            return images
        operations, amounts = self.amounts(transformation)
        weights, shares = transformation["weights"], transformation["shares"]
        static = (self.interpolation, tuple(self.OPERATIONS))
        return each(_mixed, images, operations, amounts, weights, shares, shared=self.settings(), static=static)

    def transform_segmentation_masks(self, masks, transformation):
        raise ValueError(_UNMOVED.format("segmentation_masks"))

    def get_matrices(self, transformation, height, width):
        raise ValueError(_UNMOVED.format("bounding_boxes"))

    def get_config(self):
        config = {"severity": self.severity, "width": self.width, "depth": self.depth, "alpha": self.alpha}
        return {**super().get_config(), **config}


_UNMOVED = (
    "`AugMix` mixes versions of an image that are moved differently, so that a mask or a box has no one place in the "
    'mixture. Take `RandAugment` for dense prediction. Received: a dictionary with the key "{}"'
)


def _mixed(image, operations, amounts, weights, share, low, high, fill, interpolation, names):
    """The mixture for one image; `operations` and `amounts` are of shape `(chains * depth,)`."""
    pixels, chains = engine.to_bytes(image, low, high), weights.shape[0]
    operations, amounts = (tf.reshape(values, [chains, -1]) for values in (operations, amounts))

    def add(chain, total):
        version = engine.apply(pixels, operations[chain], amounts[chain], (), fill, interpolation, names)
        return chain + 1, total + weights[chain] * tf.cast(version, tf.float32)

    start = 0, tf.zeros(tf.shape(pixels))
    _, mixture = tf.while_loop(lambda chain, _: chain < chains, add, start, maximum_iterations=chains)
    mixture = share * tf.cast(pixels, tf.float32) + (1.0 - share) * tf.ensure_shape(mixture, image.shape)
    return engine.from_bytes(tf.cast(tf.floor(mixture + 0.5), tf.uint8), image.dtype, low, high)
