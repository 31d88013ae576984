"""RandAugment, drawn for each image."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.image_layer import GREY, check_fraction
from keras_consistency.augment.image.policy import Policy
from keras_consistency.ops import random


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandAugment(Policy):
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

    All is done at 8 bits a channel, whatever the dtype, and an image's geometric operations are one warp (see
    `Policy`). An image whose operations all have strength 0 is returned to the bit.

    Args:
        num_ops: operations for each image, 0 or more; 0 is the identity.
        magnitude: largest strength, in [0, 1]; 0 is the identity.
        uniform_magnitude: with `True`, each operation of each image draws its strength uniformly between 0 and
            `magnitude` (FixMatch); with `False` every strength is `magnitude` (RandAugment).
        probability: probability that a drawn operation is applied; 1 in the papers, 0.5 in FixMatch's code.
        fill: what is shown from outside the image, as a fraction of `value_range`; the default is mid-grey.
        interpolation: `"bilinear"` or `"nearest"`. Masks always take the nearest pixel.
        mask_fill: what a mask shows from outside, a number that its dtype can hold.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary with masks and boxes beside them (see `ImageLayer`).

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

    OPERATIONS = {
        "identity": 0.0,
        "autocontrast": 1.0,
        "equalize": 1.0,
        "rotate": (-30.0, 30.0),
        "solarize": 0.0,
        "color": 0.05,
        "posterize": 4.0,
        "contrast": 0.05,
        "brightness": 0.05,
        "sharpness": 0.05,
        "shear_x": (-0.3, 0.3),
        "shear_y": (-0.3, 0.3),
        "translate_x": (-0.3, 0.3),
        "translate_y": (-0.3, 0.3),
    }
    STARTS = {"autocontrast": 1.0, "equalize": 1.0}

    def __init__(
        self,
        *,
        num_ops=2,
        magnitude=1.0,
        uniform_magnitude=True,
        probability=1.0,
        fill=GREY,
        interpolation="bilinear",
        mask_fill=0,
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(
            fill=fill, interpolation=interpolation, mask_fill=mask_fill, value_range=value_range, seed=seed, **kwargs
        )
        if isinstance(num_ops, bool) or not isinstance(num_ops, int) or num_ops < 0:
            raise ValueError(f"`num_ops` must be an integer, 0 or more. Received: num_ops={num_ops}")
        self.num_ops = num_ops
        self.magnitude = check_fraction("magnitude", magnitude)
        self.uniform_magnitude = bool(uniform_magnitude)
        self.probability = check_fraction("probability", probability)

    def get_random_transformation(self, seed, images):
        """Draw each image's operations.

        Returns:
            A dict of tensors of shape `(batch, num_ops)`: `operations`, int32 positions in `OPERATIONS`; `strengths`,
            float32 in [0, magnitude]; `signs`, float32, -1 or 1, for the operations that go either way.
        """
        drawn = self.draw(random.fold(seed, 0), images, self.num_ops)
        strengths = drawn["strengths"] if self.uniform_magnitude else tf.ones_like(drawn["strengths"])
        strengths *= self.magnitude
        if self.probability < 1:
            applied = random.uniform(random.fold(seed, 1), tf.shape(images)[0], (self.num_ops,)) < self.probability
            strengths = tf.where(applied, strengths, 0.0)
        return {**drawn, "strengths": strengths}

    def get_config(self):
        return {
            **super().get_config(),
            "num_ops": self.num_ops,
            "magnitude": self.magnitude,
            "uniform_magnitude": self.uniform_magnitude,
            "probability": self.probability,
        }
