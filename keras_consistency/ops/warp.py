"""Maps of the image plane, and the one warp that applies them.

A map is a `(n, 3, 3)` float32 matrix that takes a point `(x, y, 1)` of the *output* to the point of the *input* that it
shows. Coordinates are in pixels from the top left corner, so that the centre of pixel `(i, j)` is at `(j + 0.5, i +
0.5)`. To apply map `a` and then map `b` is to apply `a @ b` once.
"""

import math

import tensorflow as tf

from keras_consistency.ops.each import each


def affine(a, b, c, d, e, f):
    """The maps `x' = a x + b y + c`, `y' = d x + e y + f`: six tensors of shape `(n,)` -> `(n, 3, 3)`."""
    zero, one = tf.zeros_like(a), tf.ones_like(a)
    return tf.stack([tf.stack(row, axis=-1) for row in ([a, b, c], [d, e, f], [zero, zero, one])], axis=-2)


def translation(x, y):
    """Show at each pixel what lies `x` pixels to its right and `y` below: two `(n,)` -> `(n, 3, 3)`."""
    zero, one = tf.zeros_like(x), tf.ones_like(x)
    return affine(one, zero, x, zero, one, y)


def shear(x, y):
    """Shear by `x` pixels a row along the rows and `y` pixels a column along the columns: two `(n,)` -> `(n, 3, 3)`.

    The top left corner stays where it is.
    """
    zero, one = tf.zeros_like(x), tf.ones_like(x)
    return affine(one, x, zero, y, one, zero)


def rotation(degrees, height, width):
    """Rotate counter-clockwise about the centre of an image of the given size: `(n,)` -> `(n, 3, 3)`."""
    angle = degrees * (math.pi / 180.0)
    cos, sin = tf.cos(angle), tf.sin(angle)
    x, y = tf.cast(width, tf.float32) / 2.0, tf.cast(height, tf.float32) / 2.0
    return affine(cos, -sin, x - x * cos + y * sin, sin, cos, y - x * sin - y * cos)


def crop(left, top, right, bottom, height, width):
    """Show a box of the input, stretched to an image of the given size: `(n,)` each -> `(n, 3, 3)`.

    The box may reach beyond the input. With `left > right` it is shown mirrored, as with `top > bottom`.
    """
    zero = tf.zeros_like(left)
    return affine((right - left) / width, zero, left, zero, (bottom - top) / height, top)


def inverse(matrices):
    """The maps from the input to the output: `(n, 3, 3)` -> `(n, 3, 3)`."""
    a, b, c = tf.unstack(matrices, axis=-2)
    adjugate = tf.stack([tf.linalg.cross(b, c), tf.linalg.cross(c, a), tf.linalg.cross(a, b)], axis=-1)
    determinant = tf.reduce_sum(a * adjugate[..., 0], axis=-1)
    return adjugate / determinant[..., None, None]


def warp(images, matrices, *, fill, interpolation="bilinear"):
    """Apply one map to each image.

    A point whose source lies outside the input gets `fill`. Between pixel centres the value is interpolated; the half
    pixel beyond the outermost centres repeats the border, as in PIL's `Image.transform`.

    Args:
        images: uint8 or float, `(n, height, width, channels)`.
        matrices: float32, `(n, 3, 3)`, from output to input (see the module).
        fill: number in the images' units.
        interpolation: `"bilinear"` or `"nearest"`.

    Returns:
        The warped images; same shape and dtype. uint8 is rounded to nearest.
    """
    return each(warp_image, images, matrices, shared=(tf.cast(fill, tf.float32),), static=(interpolation,))


def warp_image(image, matrix, fill, interpolation):
    """As `warp`, for one image `(height, width, channels)` and its matrix `(3, 3)`."""
    shape = tf.shape(image)
    height, width = image.shape[0] or shape[0], image.shape[1] or shape[1]
    x, y = _source_points(matrix, height, width)
    right, bottom = tf.cast(width, tf.float32), tf.cast(height, tf.float32)
    inside = ((x >= 0.0) & (x < right) & (y >= 0.0) & (y < bottom))[..., None]
    pixels = tf.reshape(image, [-1, image.shape[2]])

    def read(row, column):
        row = tf.clip_by_value(tf.cast(row, tf.int32), 0, height - 1)
        column = tf.clip_by_value(tf.cast(column, tf.int32), 0, width - 1)
        return tf.gather(pixels, row * width + column)

    if interpolation == "nearest":
        # In their own dtype: the labels of a mask may be larger than what float32 tells apart.
        return tf.where(inside, read(tf.floor(y), tf.floor(x)), tf.cast(fill, image.dtype))

    def level(row, column):
        return tf.cast(read(row, column), tf.float32)

    x, y = x - 0.5, y - 0.5
    left, top = tf.floor(x), tf.floor(y)
    across, down = (x - left)[..., None], (y - top)[..., None]
    upper, lower = ((1.0 - across) * level(row, left) + across * level(row, left + 1.0) for row in (top, top + 1.0))
    values = tf.where(inside, (1.0 - down) * upper + down * lower, fill)
    if image.dtype == tf.uint8:
        values = tf.floor(values + 0.5)
    return tf.cast(values, image.dtype)


def _source_points(matrix, height, width):
    """Where each output pixel's centre comes from: x and y, float32, `(height, width)`."""
    columns = tf.range(tf.cast(width, tf.float32)) + 0.5
    rows = tf.range(tf.cast(height, tf.float32))[:, None] + 0.5
    x, y, depth = (matrix[k, 0] * columns + (matrix[k, 1] * rows + matrix[k, 2]) for k in range(3))
    return x / depth, y / depth
