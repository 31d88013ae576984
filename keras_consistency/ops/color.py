"""Operations on the pixel values of one image, as PIL defines them at 8 bits.

They work on *levels*: float32, `(height, width, channels)`, from 0 to 255, with 1 or 3 channels. Levels that came from
bytes are whole, and each operation on them then rounds where PIL does; levels of float images are not rounded. Every
operation is `operation(levels, amount, whole)`, with a scalar amount that some ignore.
"""

import tensorflow as tf


def recolor(image, amount, low, high, operation, *settings):
    """Applies one operation to an image of any dtype that layers take.

    Args:
        image: uint8, or float from `low` to `high`; `(height, width, channels)`.
        amount: what the operation takes.
        low, high: lowest and highest pixel value.
        operation: one of this module's.
        *settings: further arguments of the operation.
    """
    whole = image.dtype == tf.uint8
    if whole:
        return to_bytes(operation(tf.cast(image, tf.float32), amount, True, *settings))
    low, high = tf.cast(low, tf.float32), tf.cast(high, tf.float32)
    levels = (tf.cast(image, tf.float32) - low) * (255.0 / (high - low))
    levels = tf.clip_by_value(operation(levels, amount, False, *settings), 0.0, 255.0)
    return tf.cast(low + levels * ((high - low) / 255.0), image.dtype)


def to_bytes(levels):
    """Levels as PIL stores them: clipped to 0 to 255 and truncated to uint8."""
    return tf.cast(tf.clip_by_value(levels, 0.0, 255.0), tf.uint8)


def clip(levels, whole):
    """Levels between two operations: clipped to 0 to 255, and truncated where they are whole."""
    levels = tf.clip_by_value(levels, 0.0, 255.0)
    return tf.floor(levels) if whole else levels


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
    return _blend(_filtered(levels, ((1, 1, 1), (1, 5, 1), (1, 1, 1)), whole), levels, factor)


def soften(levels, share, whole):
    """Mix with a blurred image: share 0 is the identity, 1 is blurred.

    Blurring is PIL's 5 × 5 kernel of ones around nine zeros, over 16; the two outermost pixels stay as they are.
    """
    ring = ((1,) * 5, (1, 0, 0, 0, 1), (1, 0, 0, 0, 1), (1, 0, 0, 0, 1), (1,) * 5)
    return _blend(levels, _filtered(levels, ring, whole), share)


def solarize(levels, threshold, whole):
    """Invert the levels at or above `threshold`: 256 is the identity."""
    return tf.where(levels < threshold, levels, 255.0 - levels)


def invert(levels, amount, whole):
    """The negative. `amount` is ignored."""
    return 255.0 - levels


def posterize(levels, bits, whole):
    """Keep the highest `bits` of each level, a whole number from 0 to 8: at 8 bits, 8 is the identity."""
    step = tf.cast(tf.bitwise.left_shift(1, 8 - tf.cast(bits, tf.int32)), tf.float32)
    return tf.floor((levels if whole else tf.round(levels)) / step) * step


def autocontrast(levels, amount, whole):
    """Stretch each channel's levels to 0 to 255. A channel of one value is left alone. `amount` is ignored."""
    lines, channels = _lines(levels), levels.shape[2]
    low = tf.reduce_min(tf.reshape(tf.reduce_min(lines, axis=0), [-1, channels]), axis=0)
    high = tf.reduce_max(tf.reshape(tf.reduce_max(lines, axis=0), [-1, channels]), axis=0)
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
    below = tf.cumsum(tf.reshape(histogram, [channels, 256]), axis=-1, exclusive=True)
    # All pixels but those of the highest value that occurs.
    step = tf.reduce_max(tf.where(below < tf.size(flat) // channels, below, 0), axis=-1, keepdims=True) // 255

    def table():
        spread = tf.clip_by_value((below + step // 2) // tf.maximum(step, 1), 0, 255)
        return tf.where(step > 0, spread, tf.range(256))

    # A branch, not for what it spares: XLA would work the table out anew at every pixel.
    spread = tf.cond(tf.reduce_any(step > 0), table, lambda: tf.repeat(tf.range(256)[None], channels, axis=0))
    spread = tf.gather(tf.cast(tf.reshape(spread, [-1]), tf.float32), values)
    return spread if whole else tf.where(tf.transpose(step) > 0, spread, levels)


def grey(levels, whole):
    """Luma of ITU-R 601-2, rounded as by PIL where the levels are whole: `(height, width, 1)`."""
    if levels.shape[2] == 1:
        return levels
    # Below 2 ** 24 float32 holds every whole number.
    luma = 19595.0 * levels[..., 0:1] + 38470.0 * levels[..., 1:2] + 7471.0 * levels[..., 2:3]
    return tf.floor((luma + 32768.0) / 65536.0) if whole else luma / 65536.0


def rotate_hue(levels, turn, whole):
    """Turn the hue of HSV by a fraction of the circle: 0 is the identity. One channel is returned as it is."""
    if levels.shape[2] == 1:
        return levels
    red, green, blue = tf.unstack(levels, axis=2)
    highest = tf.maximum(tf.maximum(red, green), blue)
    chroma = highest - tf.minimum(tf.minimum(red, green), blue)
    scale = 1.0 / tf.where(chroma > 0.0, chroma, 1.0)
    of_green, of_blue = 2.0 + (blue - red) * scale, 4.0 + (red - green) * scale
    sixths = tf.where(highest == red, (green - blue) * scale, tf.where(highest == green, of_green, of_blue))
    sixths += 6.0 * turn
    colors = []
    for start in (5.0, 3.0, 1.0):  # red, green and blue, each at its own place of the same wave
        place = sixths + start
        place -= 6.0 * tf.floor(place / 6.0)
        colors.append(highest - chroma * tf.clip_by_value(tf.minimum(place, 4.0 - place), 0.0, 1.0))
    levels = tf.stack(colors, axis=2)
    return tf.round(levels) if whole else levels


def blur(levels, sigma, whole, radius):
    """Gaussian blur; beyond its border the image repeats its outermost pixels.

    Args:
        levels: see the module.
        sigma: standard deviation in pixels, above 0.
        whole: see the module.
        radius: pixels, on each side, that the kernel reaches; an int.
    """
    taps = range(2 * radius + 1)
    kernel = tf.exp(-0.5 * tf.square((tf.range(2.0 * radius + 1.0) - radius) / sigma))
    kernel = kernel / tf.reduce_sum(kernel)
    height, width, channels = (levels.shape[axis] or tf.shape(levels)[axis] for axis in range(3))
    # Gathered, the padded image is kept; a concatenation would be worked out anew for every tap.
    padded = tf.gather(_lines(levels), tf.clip_by_value(tf.range(-radius, height + radius), 0, height - 1))
    lines = tf.add_n([kernel[k] * padded[k : k + height] for k in taps])
    left, right = (tf.tile(side, [1, radius]) for side in (lines[:, :channels], lines[:, -channels:]))
    padded = tf.concat([left, lines, right], axis=1)
    lines = tf.add_n([kernel[k] * padded[:, k * channels : (k + width) * channels] for k in taps])
    levels = tf.reshape(lines, tf.shape(levels))
    return tf.round(levels) if whole else levels


def _lines(levels):
    """The image with its channels side by side, `(height, width * channels)`: XLA works faster on a long last axis."""
    width, channels = levels.shape[1] or tf.shape(levels)[1], levels.shape[2]
    return tf.reshape(levels, [-1, width * channels])


def _filtered(levels, kernel, whole):
    """The weighted mean of each pixel's surroundings; those around which the kernel leaves the image stay as they are.

    Args:
        levels, whole: see the module.
        kernel: an odd number of rows of as many weights.
    """
    height, width, channels = (levels.shape[axis] or tf.shape(levels)[axis] for axis in range(3))
    radius = len(kernel) // 2
    # Shifts of one long line, which XLA makes vectors of. Bytes, as concatenated floats it would gather one by one.
    line = tf.reshape(tf.cast(levels, tf.uint8) if whole else levels, [-1])
    margin = tf.zeros([radius * (width + 1) * channels], line.dtype)
    padded = tf.cast(tf.concat([margin, line, margin], axis=0), tf.float32)
    total = 0.0
    for row, weights in enumerate(kernel):
        for column, weight in enumerate(weights):
            if weight:
                start = (row * width + column) * channels
                total += float(weight) * padded[start : start + height * width * channels]
    lines = _lines(levels)
    mean = tf.reshape(total / float(sum(map(sum, kernel))), tf.shape(lines))
    mean = tf.floor(mean + 0.5) if whole else mean
    row, place = tf.range(height)[:, None], tf.range(width * channels)
    inner = (row >= radius) & (row < height - radius)
    inner &= (place >= radius * channels) & (place < (width - radius) * channels)
    return tf.reshape(tf.where(inner, mean, lines), tf.shape(levels))


def _blend(base, levels, factor):
    return base + factor * (levels - base)
