"""Mask patches of images."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.image_layer import GREY, ImageLayer, check_fraction
from keras_consistency.ops import cover, random
from keras_consistency.ops.each import each
from keras_consistency.parts import check_count


@keras.saving.register_keras_serializable(package="keras_consistency")
class PatchMasking(ImageLayer):
    """Cover some squares of a grid over each image with a constant.

    All sets of the same number of squares are equally likely, and each image draws its own. The grid starts at the top
    left corner; squares at the bottom and the right may be cut off by the border.

    Args:
        ratio: how many of the squares to cover, in [0, 1]: of `n`, exactly `round(ratio * n)` of every image; 0 is the
            identity.
        patch_size: side of a square in pixels, an integer of at least 1.
        fill: what covers the image, as a fraction of `value_range`; the default is mid-grey.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary, in which only the images change (see `ImageLayer`).

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where `ratio` or `fill` lies outside [0, 1], `patch_size` is not an integer of at least 1, or images
            do not fit (see `ImageLayer`).

    References:
        He et al., "Masked Autoencoders Are Scalable Vision Learners", 2021, section 3, https://arxiv.org/abs/2111.06377
        (75 % of squares of 16 pixels, at 224 × 224, which the encoder does not see at all).
        Hoyer et al., "MIC: Masked Image Consistency for Context-Enhanced Domain Adaptation", 2023, equation 5,
        https://arxiv.org/abs/2212.01322, where each square is covered with a probability of its own.
    """

    def __init__(self, *, ratio=0.75, patch_size=4, fill=GREY, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        self.ratio = check_fraction("ratio", ratio)
        check_count("patch_size", patch_size)
        self.patch_size = patch_size
        self.fill = check_fraction("fill", fill)

    def get_random_transformation(self, seed, images):
        """Which squares of the grid to cover: bool, `(batch, rows of the grid, columns of the grid)`."""
        count = tf.shape(images)[0]
        rows, columns = tf.unstack(-(-tf.shape(images)[1:3] // self.patch_size))
        squares = rows * columns
        covered = tf.cast(tf.round(self.ratio * tf.cast(squares, tf.float64)), tf.int32)
        order = tf.argsort(random.uniform(seed, count, (squares,)), stable=True)
        places = tf.reshape(order[:, :covered] + squares * tf.range(count)[:, None], [-1, 1])
        chosen = tf.scatter_nd(places, tf.ones([count * covered], tf.int32), [count * squares])
        return tf.reshape(chosen > 0, [count, rows, columns])

    def transform_images(self, images, transformation):
        fill = tf.cast(self.scale(self.fill), images.dtype)
        return each(_masked, images, transformation, shared=(fill,), static=(self.patch_size,))

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "patch_size": self.patch_size, "fill": self.fill}


def _masked(image, chosen, fill, patch_size):
    return cover.patches(image, chosen, patch_size, fill)
