"""The operations that policies draw from, and the one pass over an image that applies what it drew.

An operation is a name and an *amount* in the operation's own unit; at its neutral amount it changes nothing:

| operation | amount | neutral |
|--|--|--|
| identity | ignored | |
| autocontrast, blur, equalize, invert, smooth | share of the result in a mixture with the image | 0 |
| brightness, color, contrast, sharpness | PIL's enhancement factor | 1 |
| cutout | side of a grey square, as a fraction of the shorter side | 0 |
| posterize | bits to keep, rounded | 8 |
| solarize | least value that is inverted | 256 |
| rotate | degrees counter-clockwise about the centre | 0 |
| shear_x, shear_y | pixels a row or column; the top left corner stays | 0 |
| shift_x, shift_y | pixels | 0 |
| translate_x, translate_y | fraction of the width or height | 0 |
| zoom | share of the height and the width to cut off, half of it at either side | 0 |
"""

import functools
import math

import tensorflow as tf

from keras_consistency.ops import color, cover, warp
from keras_consistency.ops.warp_bytes import warp_bytes


def _mixed(operation):
    return lambda levels, share, whole: levels + share * (operation(levels, share, whole) - levels)


_COLORS = {
    "autocontrast": _mixed(color.autocontrast),
    "blur": color.soften,
    "brightness": color.brighten,
    "color": color.saturate,
    "contrast": color.contrast,
    "equalize": _mixed(color.equalize),
    "invert": _mixed(color.invert),
    "posterize": lambda levels, bits, whole: color.posterize(levels, tf.round(bits), whole),
    "sharpness": color.sharpen,
    "smooth": lambda levels, share, whole: color.sharpen(levels, 1.0 - share, whole),
    "solarize": color.solarize,
}
_MOTIONS = ("rotate", "shear_x", "shear_y", "shift_x", "shift_y", "translate_x", "translate_y", "zoom")
NEUTRAL = {name: 0.0 for name in ("identity", "cutout", *_COLORS, *_MOTIONS)} | {
    "brightness": 1.0,
    "color": 1.0,
    "contrast": 1.0,
    "sharpness": 1.0,
    "posterize": 8.0,
    "solarize": 256.0,
}


def transform(image, operations, amounts, places, low, high, fill, interpolation, names):
    """Applies operations to one image: its colour operations first, in the order given, then all its motions as one.

    They are done at 8 bits a channel, whatever the dtype. An image with no operation but `identity` is returned to the
    bit.

    Args:
        image: uint8, or float from `low` to `high`; `(height, width, channels)`, 1 or 3 channels.
        operations: positions in `names`, or -1 for none, int32, `(slots,)`.
        amounts: float32, `(slots,)`.
        places: where a square of `cutout` has its centre, as fractions of height and width: float32 in [0, 1), `(slots,
            2)`; anything else where `names` has no `cutout`.
        low, high: lowest and highest pixel value of a float image.
        fill: what is shown from outside the image and in squares, from 0 to 255.
        interpolation: `"bilinear"` or `"nearest"`.
        names: which operations there are to choose from, a tuple.

    Returns:
        An image of the same shape and dtype.
    """
    pixels = apply(to_bytes(image, low, high), operations, amounts, places, fill, interpolation, names)
    if image.dtype == tf.uint8:
        return pixels
    changed = tf.reduce_any(_chosen(operations, [name != "identity" for name in names]))
    return tf.where(changed, from_bytes(pixels, image.dtype, low, high), image)


def apply(pixels, operations, amounts, places, fill, interpolation, names):
    """As `transform`, for a uint8 image."""
    shape, slots = pixels.shape, operations.shape[0]
    colors = [name for name in names if name == "cutout" or name in _COLORS]
    recolors = _chosen(operations, [name in colors for name in names])
    branches = tf.gather([colors.index(name) if name in colors else 0 for name in names], tf.maximum(operations, 0))

    def following(slot):
        """The next slot with a colour operation, or the number of slots."""
        return tf.reduce_min(tf.where(recolors & (tf.range(slots) > slot), tf.range(slots), slots))

    def recolor(slot, pixels):
        def branch(name):
            if name == "cutout":
                return lambda: _cut_out(pixels, amounts[slot], places[slot], fill)
            return lambda: color.to_bytes(_COLORS[name](tf.cast(pixels, tf.float32), amounts[slot], True))

        return following(slot), tf.switch_case(branches[slot], list(map(branch, colors)))

    # A loop, and not a line for each slot: every branch is compiled once.
    if colors:
        start = following(-1), pixels
        _, pixels = tf.while_loop(lambda slot, _: slot < slots, recolor, start, maximum_iterations=slots)
        pixels = tf.ensure_shape(pixels, shape)

    def moved():
        height, width = tf.unstack(tf.cast(tf.shape(pixels)[:2], tf.float32))
        return warp_bytes(pixels, motion(operations, amounts, height, width, names), fill, interpolation)

    moves = _chosen(operations, [name in _MOTIONS for name in names])
    return tf.cond(tf.reduce_any(moves), moved, lambda: pixels)


def motion(operations, amounts, height, width, names):
    """The one map of all motions that were drawn, as `ops.warp` takes it.

    Args:
        operations, amounts, names: as for `transform`, `(slots,)`, or for a batch `(n, slots)`.
        height, width: of the images, float32 scalars.

    Returns:
        float32 `(3, 3)` or `(n, 3, 3)`.
    """

    def amount(name):
        return tf.where(operations == names.index(name), amounts, 0.0) if name in names else tf.zeros_like(amounts)

    # A slot has one motion, at most, so that what each adds to the identity adds up.
    angle, x, y = amount("rotate") * (math.pi / 180.0), width / 2.0, height / 2.0
    scale, sin = tf.cos(angle) - amount("zoom"), tf.sin(angle)
    right = x * (1.0 - scale) + y * sin + amount("shift_x") + width * amount("translate_x")
    down = y * (1.0 - scale) - x * sin + amount("shift_y") + height * amount("translate_y")
    steps = warp.affine(scale, amount("shear_x") - sin, right, amount("shear_y") + sin, scale, down)
    matrices = tf.unstack(steps, num=operations.shape[-1], axis=-3)
    return functools.reduce(_composed, matrices) if matrices else tf.eye(3, batch_shape=tf.shape(operations)[:-1])


def _composed(first, second):
    # No matrix product: that may be of ten bits only on a GPU.
    return tf.reduce_sum(first[..., :, :, None] * second[..., None, :, :], axis=-2)


def to_bytes(image, low, high):
    """A float image, from `low` to `high`, at 8 bits a channel; a uint8 one as it is."""
    if image.dtype == tf.uint8:
        return image
    fractions = (tf.cast(image, tf.float32) - low) / (high - low)
    return tf.cast(tf.clip_by_value(tf.round(fractions * 255.0), 0.0, 255.0), tf.uint8)


def from_bytes(pixels, dtype, low, high):
    """The image of a float dtype, from `low` to `high`, that uint8 pixels stand for; for uint8, the pixels."""
    if dtype == tf.uint8:
        return pixels
    return tf.cast(low + tf.cast(pixels, tf.float32) * ((high - low) / 255.0), dtype)


def _cut_out(pixels, size, place, fill):
    shape = tf.cast(tf.shape(pixels)[:2], tf.float32)
    side = tf.cast(tf.round(size * tf.reduce_min(shape)), tf.int32)
    top, left = tf.unstack(tf.cast(place * shape, tf.int32) - side // 2)
    return cover.rectangle(pixels, top, left, side, side, tf.cast(fill, tf.uint8))


def _chosen(operations, among):
    """Which operations are some of their names, given as a list of bool."""
    return (operations >= 0) & tf.gather(among, tf.maximum(operations, 0))
