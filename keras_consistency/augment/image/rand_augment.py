"""RandAugment, drawn for each image."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.image_layer import GREY, ImageLayer, check_fraction
from keras_consistency.ops import color, random, rows, warp

OPERATIONS = (
    "identity",
    "autocontrast",
    "equalize",
    "rotate",
    "solarize",
    "color",
    "posterize",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
_GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
_INTERPOLATIONS = ("bilinear", "nearest")


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandAugment(ImageLayer):
    """Apply `num_ops` operations to each image, each drawn uniformly and independently from the paper's 14.

    What an operation does at strength `s` in [0, 1], with the ranges of FixMatch's table:

    | operation | at strength s |
    |--|--|
    | identity | nothing |
    | autocontrast, equalize | as in PIL, whole for every s above 0 |
    | rotate | by 30 s degrees, either way, about the centre |
    | shear_x, shear_y | by 0.3 s, either way; the top left corner stays |
    | translate_x, translate_y | by 0.3 s of the width or height, either way |
    | solarize | inverts the values from 256 (1 - s) on |
    | posterize | keeps 8 - 4 s bits, rounded |
    | color, contrast, brightness, sharpness | PIL's enhancement factor 1 - 0.95 s |

    An image whose operations all have strength 0 is returned to the bit. All others are worked on at 8 bits a channel,
    as in PIL, whatever the dtype. Each image pays for what it drew: its colour operations come first, in the order
    drawn, then all its geometric operations as one warp. (The operations of PIL would come in the order drawn: here
    what comes in from outside an image is not recoloured, and two warps interpolate once.)

    Args:
        num_ops: operations for each image, 0 or more; 0 is the identity.
        magnitude: largest strength, in [0, 1]; 0 is the identity.
        uniform_magnitude: with `True`, each operation of each image draws its strength uniformly between 0 and
            `magnitude` (FixMatch); with `False` every strength is `magnitude` (RandAugment).
        probability: probability that a drawn operation is applied; 1 in the papers, 0.5 in FixMatch's code.
        fill: what is shown from outside the image, as a fraction of `value_range`; the default is mid-grey.
        interpolation: `"bilinear"` or `"nearest"`.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`.

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where an argument lies outside its range, or images do not fit (see `ImageLayer`).

    References:
        Cubuk et al., "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space", 2019,
        https://arxiv.org/abs/1909.13719.
        Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", 2020, appendix D,
        https://arxiv.org/abs/2001.07685.
    """

    def __init__(
        self,
        *,
        num_ops=2,
        magnitude=1.0,
        uniform_magnitude=True,
        probability=1.0,
        fill=GREY,
        interpolation="bilinear",
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        if isinstance(num_ops, bool) or not isinstance(num_ops, int) or num_ops < 0:
            raise ValueError(f"`num_ops` must be an integer, 0 or more. Received: num_ops={num_ops}")
        if interpolation not in _INTERPOLATIONS:
            raise ValueError(
                f"`interpolation` must be one of {_INTERPOLATIONS}. Received: interpolation={interpolation}"
            )
        self.num_ops = num_ops
        self.magnitude = check_fraction("magnitude", magnitude)
        self.uniform_magnitude = bool(uniform_magnitude)
        self.probability = check_fraction("probability", probability)
        self.fill = check_fraction("fill", fill)
        self.interpolation = interpolation

    def get_random_transformation(self, seed, images):
        """Draw each image's operations.

        Returns:
            A dict of tensors of shape `(batch, num_ops)`: `operations`, int32 positions in `OPERATIONS`; `strengths`,
            float32 in [0, magnitude]; `signs`, float32, -1 or 1, for the operations that go either way.
        """
        draws = random.uniform(seed, tf.shape(images)[0], (4, self.num_ops))
        operation, strength, sign, applied = tf.unstack(draws, axis=1)
        strength = self.magnitude * (strength if self.uniform_magnitude else tf.ones_like(strength))
        return {
            "operations": tf.cast(operation * len(OPERATIONS), tf.int32),
            "strengths": tf.where(applied < self.probability, strength, 0.0),
            "signs": tf.where(sign < 0.5, -1.0, 1.0),
        }

    def transform_images(self, images, transformation):
        if self.num_ops == 0 or self.magnitude == 0:
            return images
        operations, strengths = transformation["operations"], transformation["strengths"]
        # Strength 0 is the identity: no later test of an operation has to ask for it.
        operations = tf.where(strengths > 0.0, operations, OPERATIONS.index("identity"))
        if images.dtype == tf.uint8:
            return self._transform_bytes(images, operations, strengths, transformation["signs"])
        low, high = self.value_range
        fractions = (tf.cast(images, tf.float32) - low) / (high - low)
        pixels = tf.cast(tf.clip_by_value(tf.round(fractions * 255.0), 0.0, 255.0), tf.uint8)
        pixels = self._transform_bytes(pixels, operations, strengths, transformation["signs"])
        outputs = tf.cast(self.scale(tf.cast(pixels, tf.float32) / 255.0), images.dtype)
        touched = tf.reduce_any(operations != OPERATIONS.index("identity"), axis=1)
        return tf.where(touched[:, None, None, None], outputs, images)

    def _transform_bytes(self, images, operations, strengths, signs):
        images = _recolour(images, operations, strengths)
        moved, matrices = _matrices(images, operations, strengths * signs)

        def move(images, matrices):
            return warp.warp(images, matrices, fill=round(255 * self.fill), interpolation=self.interpolation)

        return rows.update(moved, move, images, matrices)

    def get_config(self):
        return {
            **super().get_config(),
            "num_ops": self.num_ops,
            "magnitude": self.magnitude,
            "uniform_magnitude": self.uniform_magnitude,
            "probability": self.probability,
            "fill": self.fill,
            "interpolation": self.interpolation,
        }


def _recolour(images, operations, strengths):
    """All colour operations of each image, in the order drawn."""
    table, pending = color.identity_table(images), tf.zeros_like(operations[:, 0], tf.bool)
    for slot in range(operations.shape[1]):
        operation, strength = operations[:, slot], strengths[:, slot]
        for name, edit in _TABLE_EDITS.items():
            chosen = operation == OPERATIONS.index(name)
            table = rows.update(chosen, edit, table, images, strength)
            pending |= chosen
        for name, mix in _MIXES.items():
            chosen = operation == OPERATIONS.index(name)
            images = rows.update(chosen, mix, images, table, strength)
            table = tf.where(chosen[:, None, None], color.identity_table(images), table)
            pending &= ~chosen
    return rows.update(pending, color.look_up, images, table)


def _factor(strength):
    return 1.0 - 0.95 * strength


def _autocontrast(table, images, strength):
    return color.autocontrast(table, *color.value_bounds(color.look_up(images, table)))


def _equalize(table, images, strength):
    return color.equalize(table, color.histogram(color.look_up(images, table)))


def _contrast(table, images, strength):
    return color.contrast(table, color.mean_grey(color.look_up(images, table)), _factor(strength))


def _brightness(table, images, strength):
    return color.brighten(table, _factor(strength))


def _solarize(table, images, strength):
    return color.solarize(table, 256 - tf.cast(256.0 * strength, tf.int32))


def _posterize(table, images, strength):
    return color.posterize(table, 8 - tf.cast(tf.round(4.0 * strength), tf.int32))


def _color(images, table, strength):
    return color.saturate(color.look_up(images, table), _factor(strength))


def _sharpness(images, table, strength):
    return color.sharpen(color.look_up(images, table), _factor(strength))


# (table, images, strength) -> table, and (images, table, strength) -> images.
_TABLE_EDITS = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "contrast": _contrast,
    "brightness": _brightness,
    "solarize": _solarize,
    "posterize": _posterize,
}
_MIXES = {"color": _color, "sharpness": _sharpness}


def _matrices(images, operations, amounts):
    """Which images any geometric operation moves, bool `(n,)`, and the one map of each, `(n, 3, 3)`."""
    shape = tf.shape(images)
    height, width = tf.cast(shape[1], tf.float32), tf.cast(shape[2], tf.float32)
    moved, matrices = tf.zeros_like(operations[:, 0], tf.bool), None
    for slot in range(operations.shape[1]):
        amount = {
            name: tf.where(operations[:, slot] == OPERATIONS.index(name), amounts[:, slot], 0.0) for name in _GEOMETRIC
        }
        step = warp.rotation(30.0 * amount["rotate"], height, width)
        step = step @ warp.shear(0.3 * amount["shear_x"], 0.3 * amount["shear_y"])
        step = step @ warp.translation(0.3 * width * amount["translate_x"], 0.3 * height * amount["translate_y"])
        matrices = step if matrices is None else matrices @ step
        for name in _GEOMETRIC:
            moved |= operations[:, slot] == OPERATIONS.index(name)
    return moved, matrices
