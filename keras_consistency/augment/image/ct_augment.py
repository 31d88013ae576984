"""CTAugment."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.image_layer import GREY, check_fraction
from keras_consistency.augment.image.policy import Policy
from keras_consistency.ops import random, replicas


@keras.saving.register_keras_serializable(package="keras_consistency")
class CTAugment(Policy):
    """Apply `depth` operations to each image, as strong as the model can still read them: learned during training.

    The strengths of each operation are divided into bins, and each bin has a *rate*: how well the model has lately
    predicted labelled images that were transformed so. An operation is drawn uniformly, then one of its bins with a
    probability in proportion to its rate, but none whose rate, divided by the operation's highest, lies below
    `threshold`; then a strength in the bin, uniformly. All rates start at 1. `kc.callbacks.AdaptAugmentation` moves
    them during `fit`:

    ```python
    strong = kc.augment.image.CTAugment()
    model = kc.recipes.fixmatch(student, strong=strong)
    model.fit(batches, callbacks=[kc.callbacks.AdaptAugmentation(strong, (x, y))])
    ```

    In a loop of your own: `views, drawn = layer.probe(images)`, then `layer.update(drawn, matches)`.

    | operation | at strength s |
    |--|--|
    | identity | nothing |
    | autocontrast, blur, equalize, invert, smooth | PIL's, mixed with the image, its share s |
    | brightness, color, contrast, sharpness | PIL's enhancement factor 1 + s or 1 - 0.9 s |
    | cutout | covers a square with a side of 0.5 s of the shorter side, anywhere |
    | posterize | keeps 8 - 7 s bits, rounded |
    | solarize | inverts the values from 256 (1 - s) on |
    | rotate | by 45 s degrees, either way, about the centre |
    | shear_x, shear_y | by 0.3 s, either way; the top left corner stays |
    | translate_x, translate_y | by 0.3 s of the width or height, either way |
    | zoom | shows the middle 1 - 0.5 s of the width and the height |

    All is done at 8 bits a channel, whatever the dtype (see `Policy`). The rates are saved with the layer and are the
    same on all replicas. An input pipeline that calls the layer in this process follows them; a tf.data service does
    not, and an exported function keeps them as they are then.

    Args:
        depth: operations for each image, 1 or more.
        magnitude: largest strength, in [0, 1]; 1 in the paper, 0 is the identity.
        bins: bins of each operation, 1 or more. For an operation that goes either way they run from one end to the
            other.
        threshold: least rate of a bin that is drawn, divided by its operation's highest, in [0, 1].
        decay: of a rate, for each labelled image that was transformed so, in [0, 1).
        fill: what is shown from outside the image and in squares, as a fraction of `value_range`; the default is
            mid-grey.
        interpolation: `"bilinear"` or `"nearest"`. Masks always take the nearest pixel.
        mask_fill: what a mask shows from outside, a number that its dtype can hold.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Attributes:
        rates: variable, float32 `(operations, bins)`, in the order of `OPERATIONS`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary with masks and boxes beside them (see `ImageLayer`).

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where an argument lies outside its range, or images do not fit (see `ImageLayer`).

    References:
        Berthelot et al., "ReMixMatch: Semi-Supervised Learning with Distribution Alignment and Augmentation Anchoring",
        2020, section 3.2.2, https://arxiv.org/abs/1911.09785. As in the published code, rates are compared with their
        operation's highest, so that there is always one above the threshold.
        Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", 2020, appendix D,
        https://arxiv.org/abs/2001.07685. Deviations: every operation has as many bins; `zoom`, their "rescale", takes
        one interpolation; the enhancement factors reach above 1, as in the published code.
    """

    OPERATIONS = {
        "identity": 0.0,
        "autocontrast": 1.0,
        "blur": 1.0,
        "brightness": (0.1, 2.0),
        "color": (0.1, 2.0),
        "contrast": (0.1, 2.0),
        "cutout": 0.5,
        "equalize": 1.0,
        "invert": 1.0,
        "posterize": 1.0,
        "rotate": (-45.0, 45.0),
        "sharpness": (0.1, 2.0),
        "shear_x": (-0.3, 0.3),
        "shear_y": (-0.3, 0.3),
        "smooth": 1.0,
        "solarize": 0.0,
        "translate_x": (-0.3, 0.3),
        "translate_y": (-0.3, 0.3),
        "zoom": 0.5,
    }

    def __init__(
        self,
        *,
        depth=2,
        magnitude=1.0,
        bins=17,
        threshold=0.8,
        decay=0.99,
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
        for name, value in (("depth", depth), ("bins", bins)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be an integer, 1 or more. Received: {name}={value}")
        self.depth = depth
        self.magnitude = check_fraction("magnitude", magnitude)
        self.bins = bins
        self.threshold = check_fraction("threshold", threshold)
        if check_fraction("decay", decay) == 1:
            raise ValueError(f"`decay` must lie below 1, or the rates would never move. Received: decay={decay}")
        self.decay = decay
        self.rates = self.add_weight(
            shape=(len(self.OPERATIONS), bins),
            initializer="ones",
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            name="rates",
        )

    def get_random_transformation(self, seed, images):
        """Draw each image's operations.

        Returns:
            A dict of tensors of shape `(batch, depth)`: `operations`, int32 positions in `OPERATIONS`; `bins`, int32;
            `strengths`, float32 in [0, magnitude]; `signs`, float32, -1 or 1, for the operations that go either way;
            and `places` of squares, float32 in [0, 1), `(batch, depth, 2)`.
        """
        rates = tf.convert_to_tensor(self.rates) + (1.0 - self.decay)
        rates /= tf.reduce_max(rates, axis=1, keepdims=True)
        rates = tf.where(rates < self.threshold, 0.0, rates)
        return self._draw_from(rates, seed, images)

    def probe(self, images, seed=None):
        """Views at strengths of all bins alike, to find out how well the model reads them.

        Args:
            images: a batch as for a call.
            seed: as for a call.

        Returns:
            The views, and what was drawn: a dict of `operations` and `bins`, int32 `(batch, depth)`, for `update`.
        """
        images = tf.convert_to_tensor(images)
        self._check_type(images)
        if images.shape.rank != 4:
            raise ValueError(f"`probe` takes a batch of images. Received: images of shape {images.shape}")
        self._check_values(images)
        transformation = self._draw_from(tf.ones_like(self.rates), self.seed_of_call(seed), images)
        drawn = {name: transformation[name] for name in ("operations", "bins")}
        return self.transform_images(images, transformation), drawn

    def update(self, drawn, matches):
        """Moves the rates of what was drawn: `rate = decay * rate + (1 - decay) * match`, image by image.

        Several images with the same bin move it as their mean does, as often as they are many.

        Args:
            drawn: what `probe` returned.
            matches: how well the model predicted each view, in [0, 1], float `(batch,)`: `1 - sum |p - y| / 2`, with
                the predicted probabilities and those of the label.
        """
        cells = tf.reshape(drawn["operations"] * self.bins + drawn["bins"], [-1])
        matches = tf.repeat(tf.clip_by_value(tf.cast(matches, tf.float32), 0.0, 1.0), self.depth)
        both = [tf.math.unsorted_segment_sum(v, cells, tf.size(self.rates)) for v in (tf.ones_like(matches), matches)]
        counts, sums = (tf.reshape(total, tf.shape(self.rates)) for total in replicas.all_sum(both))
        kept = self.decay**counts
        self.rates.assign(kept * self.rates + (1.0 - kept) * tf.math.divide_no_nan(sums, counts))

    def _draw_from(self, weights, seed, images):
        """A transformation with bins drawn in proportion to their weights, `(operations, bins)`."""
        draws = random.uniform(seed, tf.shape(images)[0], (5, self.depth))
        operation, place_of_bin, place_in_bin, row, column = tf.unstack(draws, axis=1)
        operations = tf.cast(operation * len(self.OPERATIONS), tf.int32)
        ends = tf.cumsum(weights, axis=1)
        ends = tf.gather(ends[:, :-1] / ends[:, -1:], operations)
        bins = tf.reduce_sum(tf.cast(place_of_bin[..., None] >= ends, tf.int32), axis=-1)
        levels = (tf.cast(bins, tf.float32) + place_in_bin) / self.bins
        either_way = tf.gather([isinstance(end, tuple) for end in self.OPERATIONS.values()], operations)
        strengths = tf.where(either_way, tf.abs(2.0 * levels - 1.0), levels)
        return {
            "operations": operations,
            "bins": bins,
            "strengths": self.magnitude * strengths,
            "signs": tf.where(levels < 0.5, -1.0, 1.0),
            "places": tf.stack([row, column], axis=-1),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "depth": self.depth,
            "magnitude": self.magnitude,
            "bins": self.bins,
            "threshold": self.threshold,
            "decay": self.decay,
        }
