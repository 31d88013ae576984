"""Operations on the pixel values of one image, as PIL defines them at 8 bits.

They work on *levels*: float32, `(height, width, channels)`, from 0 to 255, with 1 or 3 channels. Levels that came from
bytes are whole, and each operation on them then rounds where PIL does; levels of float images are not rounded. Every
operation is `operation(levels, amount, whole)`, with a scalar amount that some ignore.
"""

import tensorflow as tf


def recolor(image, amount, low, high, operation):
    """Applies one operation to an image of any dtype that layers take.

    Args:
        image: uint8, or float from `low` to `high`; `(height, width, channels)`.
        amount: what the operation takes.
        low, high: lowest and highest pixel value.
        operation: one of this module's.
    """
    whole = image.dtype == tf.uint8
    if whole:
        return to_bytes(operation(tf.cast(image, tf.float32), amount, True))
    low, high = tf.cast(low, tf.float32), tf.cast(high, tf.float32)
    levels = (tf.cast(image, tf.float32) - low) * (255.0 / (high - low))
    levels = tf.clip_by_value(operation(levels, amount, False), 0.0, 255.0)
    return tf.cast(low + levels * ((high - low) / 255.0), image.dtype)


def to_bytes(levels):
    """Levels as PIL stores them: clipped to 0 to 255 and truncated to uint8."""
    return tf.cast(tf.clip_by_value(levels, 0.0, 255.0), tf.uint8)


def brighten(levels, factor, whole):
    """Multiply by `factor`: 0 is black, 1 the identity."""
    return factor * levels


def contrast(levels, factor, whole):
    """Move values from the image's mean grey: factor 0 is that grey, 1 the identity."""
    mean = tf.reduce_mean(grey(levels, whole))
    return _blend(tf.floor(mean + 0.5) if whole else mean, levels, factor)


def saturate(levels, factor, whole):
    """Move colours from grey: factor 0 is grey, 1 the identity. An image of one channel is returned as it is."""
    return levels if levels.shape[2] == 1 else _blend(grey(levels, whole), levels, factor)


def sharpen(levels, factor, whole):
    """Move pixels from a smoothed image: factor 0 is smooth, 1 the identity.

    Smoothing is PIL's 3 × 3 kernel of ones with 5 in the middle, over 13; the outermost pixels stay as they are.
    """
    height, width, _ = levels.shape
    height, width = height or tf.shape(levels)[0], width or tf.shape(levels)[1]
    padded = tf.pad(levels, [[1, 1], [1, 1], [0, 0]])
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    smooth = (total + 4.0 * levels) / 13.0
    inner_row = (tf.range(height) > 0) & (tf.range(height) < height - 1)
    inner_column = (tf.range(width) > 0) & (tf.range(width) < width - 1)
    inner = (inner_row[:, None] & inner_column)[..., None]
    return tf.where(inner, _blend(tf.floor(smooth + 0.5) if whole else smooth, levels, factor), levels)


def solarize(levels, threshold, whole):
    """Invert the levels at or above `threshold`: 256 is the identity."""
    return tf.where(levels < threshold, levels, 255.0 - levels)


def invert(levels, amount, whole):
    """The negative. `amount` is ignored."""
    return 255.0 - levels


def posterize(levels, bits, whole):
    """Keep the highest `bits` of each level, a whole number from 0 to 8: 8 is the identity at 8 bits."""
    step = tf.cast(tf.bitwise.left_shift(1, 8 - tf.cast(bits, tf.int32)), tf.float32)
    return tf.floor(levels / step) * step


def autocontrast(levels, amount, whole):
    """Stretch each channel's levels to 0 to 255. A channel of one value is left alone. `amount` is ignored."""
    low, high = tf.reduce_min(levels, axis=[0, 1]), tf.reduce_max(levels, axis=[0, 1])
    stretched = (levels - low) * 255.0 / tf.where(high > low, high - low, 1.0)
    return tf.where(high > low, stretched, levels)


def equalize(levels, amount, whole):
    """Spread each channel's levels evenly, at 8 bits. `amount` is ignored.

    A channel whose pixels are nearly all of one value is left alone (PIL's rule: a step below one pixel).
    """
    channels = levels.shape[2]
    values = tf.cast(levels if whole else tf.round(levels), tf.int32) + 256 * tf.range(channels)
    flat = tf.reshape(values, [-1])
    histogram = tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, 256 * channels)
    histogram = tf.reshape(histogram, [channels, 256])
    total = tf.reduce_sum(histogram, axis=-1, keepdims=True)
    last = tf.reduce_max(tf.where(histogram > 0, tf.range(256), -1), axis=-1, keepdims=True)
    highest = tf.reduce_sum(tf.where(tf.range(256) == last, histogram, 0), axis=-1, keepdims=True)
    step = (total - highest) // 255
    below = tf.cumsum(histogram, axis=-1, exclusive=True)
    spread = tf.clip_by_value((below + step // 2) // tf.maximum(step, 1), 0, 255)
    spread = tf.cast(tf.where(step > 0, spread, tf.range(256)), tf.float32)
    spread = tf.gather(tf.reshape(spread, [-1]), values)
    return spread if whole else tf.where(tf.transpose(step) > 0, spread, levels)


def grey(levels, whole):
    """Luma of ITU-R 601-2, rounded as by PIL where the levels are whole: `(height, width, 1)`."""
    if levels.shape[2] == 1:
        return levels
    # Below 2 ** 24 float32 holds every whole number.
    luma = 19595.0 * levels[..., 0:1] + 38470.0 * levels[..., 1:2] + 7471.0 * levels[..., 2:3]
    return tf.floor((luma + 32768.0) / 65536.0) if whole else luma / 65536.0


def rotate_hue(levels, turn, whole):
    """Turn the hue by a fraction of the circle: 0 is the identity. An image of one channel is returned as it is."""
    if levels.shape[2] == 1:
        return levels
    hsv = tf.image.rgb_to_hsv(levels / 255.0)
    hue = tf.math.floormod(hsv[..., :1] + turn, 1.0)
    levels = 255.0 * tf.image.hsv_to_rgb(tf.concat([hue, hsv[..., 1:]], axis=-1))
    return tf.round(levels) if whole else levels


def blur(levels, sigma, whole, radius):
    """Gaussian blur; beyond its border the image repeats its outermost pixels.

    Args:
        levels: see the module.
        sigma: standard deviation in pixels, above 0.
        whole: see the module.
        radius: pixels, on each side, that the kernel reaches.
    """
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    kernel = tf.exp(-0.5 * tf.square(offsets / sigma))
    kernel = kernel / tf.reduce_sum(kernel)
    for axis in (0, 1):
        size = tf.shape(levels)[axis]
        positions = tf.range(size)
        total = tf.zeros_like(levels)
        for k in range(2 * radius + 1):
            source = tf.clip_by_value(positions + (k - radius), 0, size - 1)
            total += kernel[k] * tf.gather(levels, source, axis=axis)
        levels = total
    return tf.round(levels) if whole else levels


def _blend(base, levels, factor):
    return base + factor * (levels - base)
