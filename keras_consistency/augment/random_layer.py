"""The base of every layer that draws random numbers: where its seeds come from."""

import keras
import tensorflow as tf


class RandomLayer(keras.layers.Layer):
    """A layer whose output depends on its input and on a seed, and on nothing else.

    A subclass implements `augment(inputs, seed)`, without state. In a call without `seed`, the seed is the next one of
    the layer's own generator, so that each call gives another view and a layer made with the same `seed` repeats the
    sequence. A call with `seed` is a pure function: use it wherever calls may run in parallel or must be repeatable one
    by one, as in `dataset.map(..., num_parallel_calls=...)`.

    Draws are made through `keras_consistency.ops.random`: one row per example of the global batch, however it is split
    over replicas. The state of the generator is saved with the layer.

    Args:
        seed: integer that starts the layer's generator, or `None` for a random one.
        **kwargs: as for `keras.layers.Layer`.

    Call arguments:
        inputs: what the subclass takes.
        training: with `False`, the inputs are returned unchanged.
        seed: `None`, or an integer tensor of shape `(2,)`.
    """

    def __init__(self, *, seed=None, **kwargs):
        # Inputs keep their dtype: a view has the dtype of the example.
        super().__init__(**({"autocast": False} | kwargs))
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, inputs, training=True, seed=None):
        if not training:
            return inputs
        return self.augment(inputs, self.seed_of_call(seed))

    def augment(self, inputs, seed):
        """The view of `inputs` that `seed` (int64, `(2,)`) stands for. Implemented by the subclass."""
        raise NotImplementedError(f"`{type(self).__name__}` does not implement `augment(inputs, seed)`.")

    def seed_of_call(self, seed):
        """The seed given to a call, or the generator's next one: int64, `(2,)`."""
        if seed is None:
            return tf.cast(self.generator.next(), tf.int64)
        seed = tf.convert_to_tensor(seed)
        if not seed.dtype.is_integer or not seed.shape.is_compatible_with([2]):
            raise ValueError(
                f"`seed` of a call to `{type(self).__name__}` must be an integer tensor of shape (2,). "
                f"Received: seed of shape {seed.shape} and dtype {seed.dtype.name}"
            )
        return tf.cast(tf.ensure_shape(seed, [2]), tf.int64)

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_output_spec(self, inputs, training=True, seed=None):
        return keras.tree.map_structure(lambda leaf: keras.KerasTensor(leaf.shape, dtype=leaf.dtype), inputs)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["seed_generator_state"] = self.generator.state.numpy()

    def load_own_variables(self, store):
        self.generator.state.assign(store["seed_generator_state"])
        super().load_own_variables({key: store[key] for key in store.keys() if key != "seed_generator_state"})

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
