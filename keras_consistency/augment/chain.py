"""Several layers, one after the other, as one view."""

import inspect

import keras

from keras_consistency.augment.random_layer import RandomLayer
from keras_consistency.ops import random


@keras.saving.register_keras_serializable(package="keras_consistency")
class Chain(RandomLayer):
    """Apply layers in order, with one seed for all of them.

    Each `RandomLayer` inside gets a seed of its own made from the chain's, so that a chain called with a `seed` is a
    pure function. Keras's own layers may be inside; those that draw random numbers use their own generators, which no
    seed given to the chain reaches, and may return another dtype.

    Args:
        layers: list of Keras layers, each of which takes and returns one tensor.
        seed: integer that starts the chain's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Input shape:
        What the first layer takes.

    Output shape:
        What the last layer returns.

    Raises:
        TypeError: where `layers` is not a list of Keras layers.

    Example:

    ```python
    image = kc.augment.image
    view = kc.augment.Chain([image.RandomShift(), image.RandAugment(num_ops=3), image.Cutout()], seed=1)
    images = view(images)
    ```
    """

    def __init__(self, layers, *, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        if not isinstance(layers, (list, tuple)) or not all(isinstance(layer, keras.layers.Layer) for layer in layers):
            raise TypeError(f"`layers` of `Chain` must be a list of Keras layers. Received: layers={layers}")
        self.layers = list(layers)
        self.built = all(layer.built for layer in self.layers)

    def build(self, input_shape):
        for layer in self.layers:
            if not layer.built:
                layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, inputs, training=True, seed=None):
        if training:
            seed = self.seed_of_call(seed)
        for position, layer in enumerate(self.layers):
            if isinstance(layer, RandomLayer):
                inputs = layer(inputs, training=training, seed=random.fold(seed, position) if training else None)
            elif "training" in inspect.signature(layer.call).parameters:
                inputs = layer(inputs, training=training)
            else:
                inputs = layer(inputs)
        return inputs

    def compute_output_shape(self, input_shape):
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def compute_output_spec(self, inputs, training=True, seed=None):
        for layer in self.layers:
            inputs = layer.compute_output_spec(inputs)
        return inputs

    def get_config(self):
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config):
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})
