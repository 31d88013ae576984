"""Operations on pixel values, at 8 bits as PIL defines them.

What maps a value to a value is a *table*: uint8, `(n, channels, 256)`, one a channel of each image. An operation of
this kind takes a table and returns the table that does what it did, then the operation. However many follow each other,
the pixels are read once, by `look_up`. Two operations need more than one value of a pixel or its neighbours and work on
images: `saturate` and `sharpen`.

Images are uint8, `(n, height, width, channels)` with 1 or 3 channels; per-image parameters have shape `(n,)`.
"""

import tensorflow as tf


def identity_table(images):
    """The table that changes nothing, for each channel of each image."""
    shape = tf.shape(images)
    return tf.broadcast_to(tf.cast(tf.range(256), tf.uint8), [shape[0], images.shape[3], 256])


def look_up(images, table):
    """Send each pixel through its channel's table."""
    channels = images.shape[3]
    offsets = tf.range(channels) * 256
    indices = tf.reshape(
        tf.cast(images, tf.int32) + offsets, [-1, tf.shape(images)[1] * tf.shape(images)[2] * channels]
    )
    values = tf.gather(tf.reshape(table, [-1, channels * 256]), indices, batch_dims=1)
    return tf.reshape(values, tf.shape(images))


def brighten(table, factor):
    """Multiply by `factor`: 0 is black, 1 the identity."""
    return _blend(tf.zeros_like(table), table, factor)


def contrast(table, mean, factor):
    """Move values towards the image's `mean_grey` (int32, `(n,)`): factor 0 is that grey, 1 the identity."""
    return _blend(mean[:, None, None], table, factor)


def solarize(table, threshold):
    """Invert the values at or above `threshold` (int32, 0 to 256): 256 is the identity."""
    values = tf.cast(table, tf.int32)
    return tf.cast(tf.where(values < threshold[:, None, None], values, 255 - values), tf.uint8)


def posterize(table, bits):
    """Keep the highest `bits` (int32, 0 to 8) of each value: 8 is the identity."""
    step = tf.bitwise.left_shift(tf.ones_like(bits), 8 - bits)[:, None, None]
    values = tf.cast(table, tf.int32)
    return tf.cast(values - values % step, tf.uint8)


def autocontrast(table, low, high):
    """Stretch each channel from `[low, high]` (int32, `(n, channels)`, see `value_bounds`) to `[0, 255]`.

    A channel of one value is left alone.
    """
    low, high = low[..., None], high[..., None]
    values = tf.cast(table, tf.int32)
    stretched = tf.clip_by_value((values - low) * 255 // tf.maximum(high - low, 1), 0, 255)
    return tf.cast(tf.where(high > low, stretched, values), tf.uint8)


def equalize(table, histogram):
    """Spread each channel's values evenly, given its `histogram` (int32, `(n, channels, 256)`).

    A channel whose pixels are nearly all of one value is left alone (PIL's rule: a step below one pixel).
    """
    total = tf.reduce_sum(histogram, axis=-1, keepdims=True)
    last = tf.reduce_max(tf.where(histogram > 0, tf.range(256), -1), axis=-1, keepdims=True)
    highest = tf.reduce_sum(tf.where(tf.range(256) == last, histogram, 0), axis=-1, keepdims=True)
    step = (total - highest) // 255
    below = tf.cumsum(histogram, axis=-1, exclusive=True)
    spread = tf.clip_by_value((below + step // 2) // tf.maximum(step, 1), 0, 255)
    spread = tf.cast(tf.where(step > 0, spread, tf.range(256)), tf.uint8)
    return tf.gather(spread, tf.cast(table, tf.int32), batch_dims=2)


def grey(images):
    """Luma of ITU-R 601-2, as PIL rounds it: int32, `(n, height, width, 1)`."""
    values = tf.cast(images, tf.int32)
    if images.shape[3] == 1:
        return values
    return (tf.reduce_sum(values * tf.constant([19595, 38470, 7471]), axis=-1, keepdims=True) + 32768) // 65536


def mean_grey(images):
    """Mean luma of each image, rounded: int32, `(n,)`."""
    return tf.cast(tf.reduce_mean(tf.cast(grey(images), tf.float32), axis=[1, 2, 3]) + 0.5, tf.int32)


def value_bounds(images):
    """Lowest and highest value of each channel: two int32, `(n, channels)`."""
    return tuple(tf.cast(reduce(images, axis=[1, 2]), tf.int32) for reduce in (tf.reduce_min, tf.reduce_max))


def histogram(images):
    """How many pixels of each channel have each value: int32, `(n, channels, 256)`."""
    channels = images.shape[3]
    pixels = tf.reshape(tf.transpose(images, [0, 3, 1, 2]), [-1, tf.shape(images)[1] * tf.shape(images)[2]])
    no_weights = tf.zeros([0], tf.int32)
    counts = tf.raw_ops.DenseBincount(input=tf.cast(pixels, tf.int32), size=256, weights=no_weights)
    return tf.reshape(counts, [-1, channels, 256])


def saturate(images, factor):
    """Move colours towards grey: factor 0 is grey, 1 the identity. An image of one channel is returned as it is."""
    if images.shape[3] == 1:
        return images
    return _blend(grey(images), images, factor)


def sharpen(images, factor):
    """Move pixels towards a smoothed image: factor 0 is smooth, 1 the identity.

    Smoothing is PIL's 3 × 3 kernel of ones with 5 in the middle, over 13; the outermost pixels stay as they are.
    """
    shape = tf.shape(images)
    height, width = shape[1], shape[2]
    values = tf.pad(tf.cast(images, tf.float32), [[0, 0], [1, 1], [1, 1], [0, 0]])
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    smooth = tf.floor((total + 4.0 * values[:, 1:-1, 1:-1]) / 13.0 + 0.5)
    inner_row = (tf.range(height) > 0) & (tf.range(height) < height - 1)
    inner_column = (tf.range(width) > 0) & (tf.range(width) < width - 1)
    inner = (inner_row[:, None] & inner_column)[..., None]
    return tf.where(inner, _blend(smooth, images, factor), images)


def _blend(base, values, factor):
    """`base + factor * (values - base)`, truncated to uint8: uint8 `values`, `(n, ...)`; `factor` in [0, 1]."""
    factor = tf.reshape(factor, [-1] + [1] * (len(values.shape) - 1))
    base = tf.cast(base, tf.float32)
    return tf.cast(base + factor * (tf.cast(values, tf.float32) - base), tf.uint8)
