"""Change the brightness, contrast, saturation and hue of images."""

import keras
import tensorflow as tf

from keras_consistency.augment.image.image_layer import ImageLayer, check_fraction
from keras_consistency.ops import color, random
from keras_consistency.ops.each import each

_OPERATIONS = (color.brighten, color.contrast, color.saturate, color.rotate_hue)
_NEUTRAL = (1.0, 1.0, 1.0, 0.0)


@keras.saving.register_keras_serializable(package="keras_consistency")
class RandomColorJitter(ImageLayer):
    """Change brightness, contrast, saturation and hue of each image, in an order drawn for it.

    What each of the four does is what `RandomBrightness`, `RandomContrast`, `RandomSaturation` and `RandomHue` do. All
    are done in one pass over the images, which takes a seed and keeps the dtype; the four layers that
    `keras.layers.RandomColorJitter` calls one after the other share one seed, come in one order, and make float32.

    Args:
        brightness_factor: how far from 1 the factor of brightness may lie, in [0, 1].
        contrast_factor: how far from 1 the factor of contrast may lie, in [0, 1].
        saturation_factor: how far from 1 the factor of saturation may lie, in [0, 1].
        hue_factor: largest turn of the hue either way as a fraction of half the circle, in [0, 1].
        probability: probability that an image is changed at all, in [0, 1]; 0 is the identity.
        value_range: lowest and highest value that a pixel can have; `(0, 255)` for uint8.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`, uint8 or float, 1 or 3 channels,
        with values in `value_range`; or a dictionary, in which only the images change (see `ImageLayer`).

    Output shape:
        As the input, of the same dtype.

    Raises:
        ValueError: where a factor or `probability` lies outside [0, 1], or images do not fit (see `ImageLayer`).

    References:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020, appendix A,
        https://arxiv.org/abs/2002.05709; the defaults are those for CIFAR-10 in appendix B.9, strength 0.5. Deviation:
        `probability` is 1 unless given; 0.8 in the paper.
    """

    def __init__(
        self,
        *,
        brightness_factor=0.4,
        contrast_factor=0.4,
        saturation_factor=0.4,
        hue_factor=0.2,
        probability=1.0,
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        self.brightness_factor = check_fraction("brightness_factor", brightness_factor)
        self.contrast_factor = check_fraction("contrast_factor", contrast_factor)
        self.saturation_factor = check_fraction("saturation_factor", saturation_factor)
        self.hue_factor = check_fraction("hue_factor", hue_factor)
        self.probability = check_fraction("probability", probability)

    def get_random_transformation(self, seed, images):
        """What to do to each image, and in which order.

        Returns:
            A dict of tensors of shape `(batch, 4)`: `amounts`, float32, the factors of brightness, contrast and
            saturation and the turn of the hue; `order`, int32, positions in that list, the first to be done first.
        """
        rows = tf.shape(images)[0]
        draws = random.uniform(seed, rows, (9,))
        reach = [self.brightness_factor, self.contrast_factor, self.saturation_factor, self.hue_factor / 2.0]
        amounts = tf.constant(_NEUTRAL) + tf.constant(reach, tf.float32) * (2.0 * draws[:, :4] - 1.0)
        return {
            "amounts": tf.where(draws[:, 8:] < self.probability, amounts, _NEUTRAL),
            "order": tf.argsort(draws[:, 4:8], stable=True),
        }

    def transform_images(self, images, transformation):
        shared = tuple(tf.constant(bound, tf.float32) for bound in self.value_range)
        return each(_jittered, images, transformation["amounts"], transformation["order"], shared=shared)

    def get_config(self):
        return {
            **super().get_config(),
            "brightness_factor": self.brightness_factor,
            "contrast_factor": self.contrast_factor,
            "saturation_factor": self.saturation_factor,
            "hue_factor": self.hue_factor,
            "probability": self.probability,
        }


def _jittered(image, amounts, order, low, high):
    changed = tf.reduce_any(amounts != _NEUTRAL)
    return tf.cond(changed, lambda: color.recolor(image, (amounts, order), low, high, _in_order), lambda: image)


def _in_order(levels, what, whole):
    """The operations one after the other, each clipped, and truncated at 8 bits, before the next."""
    amounts, order = what
    neutral, shape = tf.constant(_NEUTRAL), levels.shape

    def step(place, levels):
        number = order[place]
        amount = tf.gather(amounts, number)  # sliced by `number`, XLA would compile for every order by itself

        def branch(operation):
            return lambda: color.clip(operation(levels, amount, whole), whole)

        branches = [branch(operation) for operation in _OPERATIONS] + [lambda: levels]
        levels = tf.switch_case(tf.where(amount == tf.gather(neutral, number), len(_OPERATIONS), number), branches)
        return place + 1, tf.ensure_shape(levels, shape)

    _, levels = tf.while_loop(lambda place, _: place < 4, step, (0, levels), maximum_iterations=4)
    return levels
