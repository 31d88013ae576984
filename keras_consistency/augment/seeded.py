"""Keras's own random image layers, with the seed of a call."""

import keras
import tensorflow as tf

from keras_consistency.augment.random_layer import RandomLayer
from keras_consistency.ops import random, replicas

# They draw from other generators than the one that they are given, or from Python's.
_UNSEEDED = (keras.layers.AugMix, keras.layers.RandAugment, keras.layers.RandomColorJitter)


@keras.saving.register_keras_serializable(package="keras_consistency")
class Seeded(RandomLayer):
    """Make a random image layer of Keras a function of its images and of a seed.

    For the layers that `kc.augment.image` does not have, such as `keras.layers.RandomElasticTransform`, and for your
    own that have Keras's `get_random_transformation(data, training, seed)` and `transform_images(images,
    transformation, training)`. The same seed gives the same view eagerly, in a graph and in `tf.data` with any
    `num_parallel_calls`; the state of the generator is saved with the layer; images keep their dtype (views of integers
    are rounded).

    What stays: the layer's speed; which numbers it draws for each image, and which once for a batch; other views under
    XLA, where it compiles at all, since Keras lets the device choose how to draw; and on several replicas, draws that
    depend on how a batch is split.

    Args:
        layer: a Keras image layer that draws all its random numbers from the generator that it is given.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` or one image `(height, width, channels)`.

    Output shape:
        As the input, of the same dtype.

    Raises:
        TypeError: where `layer` is not such a layer.
        ValueError: where `layer` draws from other generators too, as Keras's `RandAugment`, `AugMix` and
            `RandomColorJitter` do, or changes the shape of images; where inputs are not images.

    Example:

    ```python
    elastic = kc.augment.Seeded(keras.layers.RandomElasticTransform(factor=1.0, scale=0.5), seed=1)
    view = kc.augment.Chain([kc.augment.image.weak(), elastic])
    ```
    """

    def __init__(self, layer, *, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        methods = ("get_random_transformation", "transform_images")
        if isinstance(layer, RandomLayer) or not all(hasattr(layer, name) for name in methods):
            raise TypeError(
                "`layer` must be an image layer of Keras, with `get_random_transformation` and `transform_images`; the "
                f"random layers of this library take a seed themselves. Received: layer={layer}"
            )
        if isinstance(layer, _UNSEEDED):
            raise ValueError(
                "`layer` must draw from the generator that it is given, and this one draws from others too: "
                f"`kc.augment.image` has its own. Received: layer={layer}"
            )
        self.layer = layer

    def augment(self, inputs, seed):
        images = tf.convert_to_tensor(inputs)
        if images.shape.rank not in (3, 4):
            raise ValueError(
                "`Seeded` takes images of shape (height, width, channels) or (batch, height, width, channels). "
                f"Received: images of shape {images.shape}"
            )
        batch = tf.cast(images if images.shape.rank == 4 else images[None], self.layer.compute_dtype)
        seeds = _Folds(random.fold(seed, replicas.position()))
        transformation = self.layer.get_random_transformation(batch, training=True, seed=seeds)
        views = self.layer.transform_images(batch, transformation, training=True)
        if not views.shape.is_compatible_with(batch.shape):
            raise ValueError(
                "`layer` of `Seeded` must keep the shape of the images, as inference returns them unchanged. "
                f"Received: layer={self.layer}, which makes {views.shape} of {batch.shape}"
            )
        views = tf.saturate_cast(tf.round(views) if images.dtype.is_integer else views, images.dtype)
        return views if images.shape.rank == 4 else views[0]

    def get_config(self):
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


class _Folds(keras.random.SeedGenerator):
    """A generator without state: its seeds are those that one seed folds into."""

    def __init__(self, seed):
        # Not the parent's, which makes a variable.
        self._seed, self._drawn = seed, 0

    def next(self, ordered=True):
        self._drawn += 1
        return random.fold(self._seed, self._drawn)
