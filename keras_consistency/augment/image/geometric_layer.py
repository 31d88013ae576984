"""The base of the layers that move images: one map of the image plane for each image, and one warp."""

import functools
import numbers

import tensorflow as tf

from keras_consistency.augment.image.image_layer import GREY, ImageLayer, check_fraction
from keras_consistency.ops import warp
from keras_consistency.ops.each import each
from keras_consistency.ops.fused import fused
from keras_consistency.ops.warp_bytes import warp_bytes

_INTERPOLATIONS = ("bilinear", "nearest")
_fused = functools.cache(fused)


class GeometricLayer(ImageLayer):
    """A layer that moves each image by a map of its own.

    A subclass implements `get_random_transformation(seed, images)`, and the static method `matrices(transformation,
    height, width)`, which makes the maps of what was drawn (see `get_matrices`). Positions are not rounded to whole
    pixels. An image whose map is the identity is returned to the bit, and so are its mask and boxes.

    Args:
        fill: what is shown from outside the image, as a fraction of `value_range`, in [0, 1].
        interpolation: `"bilinear"` or `"nearest"`. Masks always take the nearest pixel.
        mask_fill: what a mask shows from outside, a number that its dtype can hold: often the label to be ignored.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Raises:
        ValueError: where an argument lies outside its range, or images do not fit (see `ImageLayer`).
    """

    affine = True  # whether parallel lines stay parallel

    def __init__(self, *, fill=GREY, interpolation="bilinear", mask_fill=0, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        if interpolation not in _INTERPOLATIONS:
            raise ValueError(
                f"`interpolation` must be one of {_INTERPOLATIONS}. Received: interpolation={interpolation}"
            )
        if not isinstance(mask_fill, numbers.Real):
            raise ValueError(f"`mask_fill` must be a number that the masks can hold. Received: mask_fill={mask_fill!r}")
        self.fill = check_fraction("fill", fill)
        self.interpolation = interpolation
        self.mask_fill = mask_fill

    @staticmethod
    def matrices(transformation, height, width):
        """As `get_matrices`; a pure function, which is compiled. Implemented by the subclass."""
        raise NotImplementedError("A `GeometricLayer` must implement `matrices(transformation, height, width)`.")

    def get_matrices(self, transformation, height, width):
        # As one program: a map that differs in its last bit may show another nearest pixel.
        return _fused(type(self).matrices)(transformation, height, width)

    def transform_images(self, images, transformation):
        fill = self.scale(self.fill)
        fill = float(round(fill)) if images.dtype == tf.uint8 else fill
        return self._move(images, transformation, tf.constant(fill, tf.float32), self.interpolation)

    def transform_segmentation_masks(self, masks, transformation):
        whole, dtype = not masks.dtype.is_floating, masks.dtype
        if whole and not (dtype.min <= self.mask_fill <= dtype.max and self.mask_fill == int(self.mask_fill)):
            raise ValueError(
                f"`mask_fill` of `{type(self).__name__}` must be a number that the masks can hold, whose dtype is "
                f"{dtype.name}. Received: mask_fill={self.mask_fill}"
            )
        fill = tf.constant(int(self.mask_fill) if whole else self.mask_fill, dtype)
        return self._move(masks, transformation, fill, "nearest")

    def _move(self, images, transformation, fill, interpolation):
        height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
        matrices = self.get_matrices(transformation, height, width)
        return each(_moved, images, matrices, shared=(fill,), static=(interpolation, self.affine))

    def get_config(self):
        return {
            **super().get_config(),
            "fill": self.fill,
            "interpolation": self.interpolation,
            "mask_fill": self.mask_fill,
        }


def _moved(image, matrix, fill, interpolation, affine):
    move = warp_bytes if affine and image.dtype == tf.uint8 else warp.warp_image
    still = tf.reduce_all(matrix == tf.eye(3))
    return tf.cond(still, lambda: image, lambda: move(image, matrix, fill, interpolation))
