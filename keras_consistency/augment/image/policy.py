"""The base of the layers that apply operations at random."""

import tensorflow as tf

from keras_consistency.augment.image import operations
from keras_consistency.augment.image.image_layer import GREY, ImageLayer, check_fraction
from keras_consistency.ops.each import each

_INTERPOLATIONS = ("bilinear", "nearest")


class Policy(ImageLayer):
    """A layer that applies operations drawn for each image.

    A subclass has `OPERATIONS`, a dictionary from the name of an operation to its amount at strength 1 (see
    `operations`), or to a pair of amounts where it goes either way: strength -1 and 1. Between them and strength 0, the
    identity, the amount is linear. Its `get_random_transformation` returns a dictionary of tensors of shape `(batch,
    slots)`: `operations`, int32 positions in `OPERATIONS`; `strengths`, float32 in [0, 1], where 0 does nothing
    whatever the operation; and `signs`, float32, -1 or 1, for the operations that go either way.

    All is done at 8 bits a channel, as in PIL, whatever the dtype; an image with nothing to do is returned to the bit.
    An image's colour operations come first, in the order drawn, then all its geometric operations as one warp. (The
    operations of PIL would come in the order drawn: here what comes in from outside an image is not recoloured, and
    two warps interpolate once.)

    Args:
        fill: what is shown from outside the image, as a fraction of `value_range`, in [0, 1].
        interpolation: `"bilinear"` or `"nearest"`.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Raises:
        ValueError: where an argument lies outside its range, or images do not fit (see `ImageLayer`).
    """

    OPERATIONS = {}

    def __init__(self, *, fill=GREY, interpolation="bilinear", value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        if interpolation not in _INTERPOLATIONS:
            raise ValueError(
                f"`interpolation` must be one of {_INTERPOLATIONS}. Received: interpolation={interpolation}"
            )
        self.fill = check_fraction("fill", fill)
        self.interpolation = interpolation

    def transform_images(self, images, transformation):
        names, amounts = self.amounts(transformation)
        if names.shape[1] == 0:
            return images
        low, high = (tf.constant(bound, tf.float32) for bound in self.value_range)
        shared = (low, high, tf.constant(float(round(255 * self.fill))))
        return each(operations.transform, images, names, amounts, shared=shared, static=(self.interpolation,))

    def amounts(self, transformation):
        """A drawn transformation in the terms of `operations`: positions in `NAMES` and amounts, `(batch, slots)`."""
        neutral = [operations.NEUTRAL[name] for name in self.OPERATIONS]
        ends = [end if isinstance(end, tuple) else (end, end) for end in self.OPERATIONS.values()]
        drawn, strengths = transformation["operations"], transformation["strengths"]
        names = tf.gather([operations.NAMES.index(name) for name in self.OPERATIONS], drawn)
        below, above = (tf.gather([float(end[k]) for end in ends], drawn) for k in (0, 1))
        neutral = tf.gather(neutral, drawn)
        amounts = neutral + strengths * (tf.where(transformation["signs"] < 0.0, below, above) - neutral)
        return tf.where(strengths > 0.0, names, operations.NAMES.index("identity")), amounts

    def get_config(self):
        return {**super().get_config(), "fill": self.fill, "interpolation": self.interpolation}
