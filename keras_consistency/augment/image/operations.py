"""The operations that policies draw from, and the one pass over an image that applies what it drew.

An operation is a name and an *amount* in the operation's own unit; at its neutral amount it changes nothing:

| operation | amount | neutral |
|--|--|--|
| identity, autocontrast, equalize, invert | ignored | |
| brightness, color, contrast, sharpness | PIL's enhancement factor | 1 |
| posterize | bits to keep, rounded | 8 |
| solarize | least value that is inverted | 256 |
| rotate | degrees counter-clockwise about the centre | 0 |
| shear_x, shear_y | pixels a row or column; the top left corner stays | 0 |
| translate_x, translate_y | fraction of the width or height | 0 |
"""

import tensorflow as tf

from keras_consistency.ops import color, warp

_COLORS = {
    "identity": None,
    "autocontrast": color.autocontrast,
    "brightness": color.brighten,
    "color": color.saturate,
    "contrast": color.contrast,
    "equalize": color.equalize,
    "invert": color.invert,
    "posterize": lambda levels, bits, whole: color.posterize(levels, tf.round(bits), whole),
    "sharpness": color.sharpen,
    "solarize": color.solarize,
}
_MOTIONS = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
NAMES = (*_COLORS, *_MOTIONS)
NEUTRAL = {name: 0.0 for name in NAMES} | {
    "brightness": 1.0,
    "color": 1.0,
    "contrast": 1.0,
    "sharpness": 1.0,
    "posterize": 8.0,
    "solarize": 256.0,
}


def transform(image, operations, amounts, low, high, fill, interpolation):
    """Applies operations to one image: its colour operations first, in the order given, then all its motions as one.

    They are done at 8 bits a channel, whatever the dtype. An image with no operation but `identity` is returned to the
    bit.

    Args:
        image: uint8, or float from `low` to `high`; `(height, width, channels)`, 1 or 3 channels.
        operations: positions in `NAMES`, int32, `(slots,)`.
        amounts: float32, `(slots,)`.
        low, high: lowest and highest pixel value of a float image.
        fill: what is shown from outside the image, from 0 to 255.
        interpolation: `"bilinear"` or `"nearest"`.

    Returns:
        An image of the same shape and dtype.
    """
    moves = operations >= len(_COLORS)
    pixels = image if image.dtype == tf.uint8 else _as_bytes(image, low, high)

    def recolor(slot, pixels):
        levels, amount = tf.cast(pixels, tf.float32), amounts[slot]

        def branch(operation):
            return lambda: pixels if operation is None else color.to_bytes(operation(levels, amount, True))

        chosen = tf.where(moves[slot], 0, operations[slot])
        return slot + 1, tf.switch_case(chosen, [branch(operation) for operation in _COLORS.values()])

    # A loop, and not a line for each slot: every branch is compiled once.
    slots = operations.shape[0]
    _, pixels = tf.while_loop(lambda slot, _: slot < slots, recolor, (0, pixels), maximum_iterations=slots)
    pixels = tf.ensure_shape(pixels, image.shape)

    def moved():
        return warp.warp_image(pixels, _matrix(image, operations, amounts), fill, interpolation)

    pixels = tf.cond(tf.reduce_any(moves), moved, lambda: pixels)
    if image.dtype == tf.uint8:
        return pixels
    output = low + tf.cast(pixels, tf.float32) * ((high - low) / 255.0)
    return tf.where(tf.reduce_any(operations > 0), tf.cast(output, image.dtype), image)


def _as_bytes(image, low, high):
    fractions = (tf.cast(image, tf.float32) - low) / (high - low)
    return tf.cast(tf.clip_by_value(tf.round(fractions * 255.0), 0.0, 255.0), tf.uint8)


def _matrix(image, operations, amounts):
    """The one map of all motions, `(3, 3)`."""
    shape = tf.cast(tf.shape(image), tf.float32)
    height, width = shape[0], shape[1]
    matrix = tf.eye(3)
    for slot in range(operations.shape[0]):
        amount = {name: tf.where(operations[slot] == NAMES.index(name), amounts[slot], 0.0) for name in _MOTIONS}
        step = warp.rotation(amount["rotate"], height, width)
        step = step @ warp.shear(amount["shear_x"], amount["shear_y"])
        step = step @ warp.translation(width * amount["translate_x"], height * amount["translate_y"])
        matrix = matrix @ step
    return matrix
