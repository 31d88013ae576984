"""The base of the layers that apply operations at random."""

import tensorflow as tf

from keras_consistency.augment.image import operations as engine
from keras_consistency.augment.image.geometric_layer import GeometricLayer
from keras_consistency.ops import random
from keras_consistency.ops.each import each
from keras_consistency.ops.fused import fused

_motion = fused(engine.motion)


class Policy(GeometricLayer):
    """A layer that applies operations drawn for each image.

    A subclass has `OPERATIONS`, a dictionary from the name of an operation to its amount at strength 1 (see
    `operations`), or to a pair of amounts where it goes either way: strength -1 and 1. Between them and strength 0, the
    identity, the amount is linear; that of an operation in `STARTS` goes from the amount there instead of the
    identity's. Its `get_random_transformation` returns a dictionary of tensors of shape `(batch, slots)`: `operations`,
    int32 positions in `OPERATIONS`; `strengths`, float32 in [0, 1], where 0 does nothing whatever the operation; and
    `signs`, float32, -1 or 1, for the operations that go either way. Where there is a `cutout`, `places`, `(batch,
    slots, 2)`, says where its square is.

    All is done at 8 bits a channel, as in PIL, whatever the dtype; an image with nothing to do is returned to the bit.
    An image's colour operations come first, in the order drawn, then all its geometric operations as one warp. (The
    operations of PIL would come in the order drawn: here what comes in from outside an image is not recoloured, and
    two warps interpolate once.)

    Args:
        fill: what is shown from outside the image, as a fraction of `value_range`, in [0, 1].
        interpolation: `"bilinear"` or `"nearest"`. Masks always take the nearest pixel.
        mask_fill: what a mask shows from outside, a number that its dtype can hold.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Raises:
        ValueError: where an argument lies outside its range, or images do not fit (see `ImageLayer`).
    """

    OPERATIONS = {}
    STARTS = {}

    def draw(self, seed, images, slots):
        """Draws operations of strengths up to 1, all independently and uniformly: a transformation."""
        operation, strength, sign = tf.unstack(random.uniform(seed, tf.shape(images)[0], (3, slots)), axis=1)
        return {
            "operations": tf.cast(operation * len(self.OPERATIONS), tf.int32),
            "strengths": strength,
            "signs": tf.where(sign < 0.5, -1.0, 1.0),
        }

    def transform_images(self, images, transformation):
        operations, amounts = self.amounts(transformation)
        if operations.shape[1] == 0:
            return images
        return each(
            engine.transform,
            images,
            operations,
            amounts,
            transformation.get("places", ()),
            shared=self.settings(),
            static=(self.interpolation, tuple(self.OPERATIONS)),
        )

    def get_matrices(self, transformation, height, width):
        return _motion(*self.amounts(transformation), height, width, tuple(self.OPERATIONS))

    def amounts(self, transformation):
        """What was drawn in the terms of `operations`: positions, -1 for none, and amounts, both `(batch, slots)`."""
        starts = [self.STARTS.get(name, engine.NEUTRAL[name]) for name in self.OPERATIONS]
        ends = [end if isinstance(end, tuple) else (end, end) for end in self.OPERATIONS.values()]
        table = [(start, below - start, above - start) for start, (below, above) in zip(starts, ends, strict=True)]
        drawn, strengths = transformation["operations"], transformation["strengths"]
        start, below, above = tf.unstack(tf.gather(tf.constant(table, tf.float32), drawn), axis=-1)
        amounts = start + strengths * tf.where(transformation["signs"] < 0.0, below, above)
        return tf.where(strengths > 0.0, drawn, -1), amounts

    def settings(self):
        """What all images share: the bounds of `value_range`, and what is shown from outside, from 0 to 255."""
        return *map(float, self.value_range), float(round(255 * self.fill))
