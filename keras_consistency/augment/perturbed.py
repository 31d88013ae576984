"""A perturbation as a layer of the input pipeline."""

import keras
import tensorflow as tf

from keras_consistency.augment.random_layer import RandomLayer
from keras_consistency.parts import Part


@keras.saving.register_keras_serializable(package="keras_consistency")
class Perturbed(RandomLayer):
    """Applies a perturbation of `kc.perturbations` to its inputs: attacks against a network, in the input pipeline.

    The network answers in inference mode, with the weights that it has when the example passes: where a pipeline
    prefetches for the training of that very network, those of a few steps before. Within a `kc.ConsistencyModel`, use
    `kc.View(..., perturbation=...)`, which is up to date and needs no second copy of the network.

    Args:
        perturbation: a part of `kc.perturbations`.
        network: a built `keras.Model` that returns logits `(batch, ..., classes)`; `None` for perturbations that look
            at none, such as `kc.perturbations.GaussianNoise`.
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Call arguments:
        inputs: a batch of floating-point numbers `(batch, ...)`, or of bytes.
        labels: for attacks with `target="label"`: class numbers `(batch, ...)` or probabilities.
        training: with `False`, the inputs are returned unchanged.
        seed: `None`, or an integer tensor of shape `(2,)`.

    Output shape:
        As the input; float32, but of layers for integers.

    Example:

    ```python
    attack = kc.perturbations.PGD(radius=8.0, steps=5, clip_range=(0, 255))
    layer = kc.augment.Perturbed(attack, network)
    harder = dataset.batch(64).map(lambda x, y: (layer(x, labels=y), y))
    ```
    """

    def __init__(self, perturbation, network=None, *, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        if not isinstance(perturbation, Part) or not hasattr(perturbation, "reads_labels"):
            raise TypeError(
                f"`perturbation` must be a part of `kc.perturbations`. Received: perturbation={perturbation!r}"
            )
        if network is not None and not (isinstance(network, keras.Model) and network.built):
            raise TypeError(f"`network` must be a built `keras.Model` that returns logits. Received: {network!r}")
        self.perturbation = perturbation
        self.network = network

    def call(self, inputs, labels=None, training=True, seed=None):
        if not training:
            return inputs
        options = {"labels": labels} if self.perturbation.reads_labels else {}
        inputs = tf.convert_to_tensor(inputs)
        if inputs.dtype == tf.uint8 and not self.perturbation.takes_integers:
            inputs = tf.cast(inputs, tf.float32)
        return self.perturbation(inputs, self._logits, seed=self.seed_of_call(seed), **options)

    def _logits(self, inputs):
        if self.network is None:
            raise ValueError(
                "`network` must be a model for the perturbation to attack. Received: network=None, perturbation="
                f"{self.perturbation!r}"
            )
        return self.network(inputs, training=False)

    def compute_output_spec(self, inputs, labels=None, training=True, seed=None):
        dtype = inputs.dtype if self.perturbation.takes_integers or not training else "float32"
        return keras.KerasTensor(inputs.shape, dtype=dtype)

    def get_config(self):
        parts = {"perturbation": self.perturbation, "network": self.network}
        return {**super().get_config(), **{k: keras.saving.serialize_keras_object(v) for k, v in parts.items()}}

    @classmethod
    def from_config(cls, config):
        parts = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("perturbation", "network")}
        return cls(**(config | parts))
