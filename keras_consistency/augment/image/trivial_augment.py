"""TrivialAugment."""

import keras

from keras_consistency.augment.image.image_layer import GREY, check_fraction
from keras_consistency.augment.image.policy import Policy


@keras.saving.register_keras_serializable(package="keras_consistency")
class TrivialAugment(Policy):
    """Apply one operation to each image, drawn uniformly, at a strength drawn uniformly: nothing to tune.

    What an operation of the paper's wide space does at strength `s` in [0, 1]:

    | operation | at strength s |
    |--|--|
    | identity | nothing |
    | autocontrast, equalize | as in PIL, whole for every s above 0 |
    | rotate | by 135 s degrees, either way, about the centre |
    | shear_x, shear_y | by 0.99 s, either way; the top left corner stays |
    | shift_x, shift_y | by 32 s pixels, either way |
    | solarize | inverts the values from 256 (1 - s) on |
    | posterize | keeps 8 - 6 s bits, rounded |
    | color, contrast, brightness, sharpness | PIL's enhancement factor 1 + 0.99 s or 1 - 0.99 s |

    All is done at 8 bits a channel, whatever the dtype (see `Policy`).

    Args:
        magnitude: largest strength, in [0, 1]; 1 in the paper, 0 is the identity.
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
        Müller and Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", 2021,
        https://arxiv.org/abs/2103.10158, algorithm 1 and the wide augmentation space. Deviation: strengths are drawn
        from an interval, not from 31 values in it.
    """

    OPERATIONS = {
        "identity": 0.0,
        "autocontrast": 1.0,
        "equalize": 1.0,
        "rotate": (-135.0, 135.0),
        "solarize": 0.0,
        "color": (0.01, 1.99),
        "posterize": 2.0,
        "contrast": (0.01, 1.99),
        "brightness": (0.01, 1.99),
        "sharpness": (0.01, 1.99),
        "shear_x": (-0.99, 0.99),
        "shear_y": (-0.99, 0.99),
        "shift_x": (-32.0, 32.0),
        "shift_y": (-32.0, 32.0),
    }
    STARTS = {"autocontrast": 1.0, "equalize": 1.0}

    def __init__(
        self,
        *,
        magnitude=1.0,
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
        self.magnitude = check_fraction("magnitude", magnitude)

    def get_random_transformation(self, seed, images):
        """Draw each image's operation.

        Returns:
            A dict of tensors of shape `(batch, 1)`: `operations`, int32 positions in `OPERATIONS`; `strengths`, float32
            in [0, magnitude]; `signs`, float32, -1 or 1, for the operations that go either way.
        """
        drawn = self.draw(seed, images, 1)
        return {**drawn, "strengths": self.magnitude * drawn["strengths"]}

    def get_config(self):
        return {**super().get_config(), "magnitude": self.magnitude}
