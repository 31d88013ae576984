"""Covering parts of one image, `(height, width, channels)` of any dtype that layers take, with a value.

The value is a scalar of the image's dtype, or a tensor of its shape and dtype. Lines are worked on with the channels
side by side: XLA is faster on a long last axis.
"""

import tensorflow as tf


def rectangle(image, top, left, height, width, value):
    """Covers the rectangle, as far as it lies in the image, in pixels: int32 scalars."""
    rows, length, channels = _size(image)
    row, place = tf.range(rows), tf.range(length)
    in_rows = (row >= top) & (row < top + height)
    in_line = (place >= channels * left) & (place < channels * (left + width))
    return _covered(image, in_rows[:, None] & in_line, value)


def patches(image, chosen, side, value):
    """Covers squares of a grid that starts at the top left corner.

    Args:
        image: see the module.
        chosen: which squares, bool `(ceil(height / side), ceil(width / side))`.
        side: of a square, in pixels, an int; those at the bottom and the right may be cut off.
        value: see the module.
    """
    rows, length, channels = _size(image)
    lines = tf.repeat(chosen, side * channels, axis=1)[:, :length]
    return _covered(image, tf.repeat(lines, side, axis=0)[:rows], value)


def _size(image):
    """Rows, values a row, and channels: as numbers where they are known."""
    rows, columns = (image.shape[axis] or tf.shape(image)[axis] for axis in (0, 1))
    return rows, columns * image.shape[2], image.shape[2]


def _covered(image, mask, value):
    rows, length, _ = _size(image)
    value = tf.reshape(value, [rows, length]) if value.shape.rank else value
    return tf.reshape(tf.where(mask, value, tf.reshape(image, [rows, length])), tf.shape(image))
