import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.augment import Chain, RandomLayer, image
from keras_consistency.ops import random

SEED = tf.constant([3, 4], tf.int32)


@keras.saving.register_keras_serializable(package="tests")
class AddNoise(RandomLayer):
    """Adds uniform noise: the smallest random layer."""

    def augment(self, inputs, seed):
        return inputs + random.uniform(seed, tf.shape(inputs)[0], inputs.shape[1:])


def test_calls_without_a_seed_differ_and_a_layer_of_the_same_seed_repeats_them():
    inputs = tf.zeros([2, 3])
    one, other = AddNoise(seed=5), AddNoise(seed=5)
    first, second = one(inputs), one(inputs)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(other(inputs), first)
    np.testing.assert_array_equal(other(inputs), second)
    assert not np.allclose(AddNoise(seed=6)(inputs), first)


def test_call_with_a_seed_is_pure():
    inputs = tf.zeros([2, 3])
    layer = AddNoise(seed=5)
    state = layer.generator.state.numpy()
    first = layer(inputs, seed=SEED)
    np.testing.assert_array_equal(layer(inputs, seed=SEED), first)
    np.testing.assert_array_equal(AddNoise(seed=99)(inputs, seed=tf.cast(SEED, tf.int64)), first)
    assert not np.allclose(layer(inputs, seed=SEED + 1), first)
    np.testing.assert_array_equal(layer.generator.state, state)


def test_inference_returns_the_inputs_and_draws_nothing():
    layer = AddNoise(seed=5)
    state = layer.generator.state.numpy()
    np.testing.assert_array_equal(layer(tf.ones([2, 3]), training=False), np.ones([2, 3]))
    np.testing.assert_array_equal(layer.generator.state, state)


@pytest.mark.parametrize("seed", [tf.constant([1, 2, 3]), tf.constant(1), tf.constant([1.0, 2.0])])
def test_seed_of_the_wrong_shape_or_dtype_is_named(seed):
    with pytest.raises(ValueError, match="`seed` of a call to `AddNoise`"):
        AddNoise()(tf.zeros([2, 3]), seed=seed)


def test_generator_goes_on_after_saving_and_loading(tmp_path):
    model = keras.Sequential([keras.Input([3]), Chain([AddNoise(seed=1), AddNoise(seed=2)], seed=7)])
    inputs = np.zeros([2, 3], "float32")
    model(inputs, training=True)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored(inputs, training=True), model(inputs, training=True))


# Keras itself: it gives NumPy 2 its variables, which do not know the argument `copy`.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_weights_of_a_random_layer_are_saved_beside_its_generator(tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class Weighted(AddNoise):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.weight = self.add_weight(shape=(3,), initializer="zeros")

    model = keras.Sequential([keras.Input([3]), Weighted(seed=1)])
    model.layers[0].weight.assign([1.0, 2.0, 3.0])
    model.save_weights(tmp_path / "weights.weights.h5")
    model.layers[0].weight.assign([0.0, 0.0, 0.0])
    model.load_weights(tmp_path / "weights.weights.h5")
    np.testing.assert_array_equal(model.layers[0].weight, [1.0, 2.0, 3.0])


def test_layer_made_under_a_strategy_can_be_saved(tmp_path):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()).scope():
        model = keras.Sequential([keras.Input([3]), AddNoise(seed=1)])
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored.layers[0].generator.state, model.layers[0].generator.state)


def test_layer_without_augment_says_so():
    with pytest.raises(NotImplementedError, match="`RandomLayer` does not implement"):
        RandomLayer()(tf.zeros([1, 2]))


class TestChain:
    def test_gives_each_layer_a_seed_of_its_own(self):
        inputs = tf.zeros([4, 3])
        chain = Chain([AddNoise(), AddNoise()])
        expected = sum(AddNoise()(inputs, seed=random.fold(SEED, k)) for k in (0, 1))
        np.testing.assert_allclose(chain(inputs, seed=SEED), expected, rtol=1e-6)
        assert not np.allclose(expected, 2 * AddNoise()(inputs, seed=random.fold(SEED, 0)))

    def test_applies_layers_in_order(self):
        inputs = tf.ones([4, 3])
        noise = AddNoise()(tf.zeros([4, 3]), seed=random.fold(SEED, 1))
        chain = Chain([keras.layers.Rescaling(10.0), AddNoise()])
        np.testing.assert_allclose(chain(inputs, seed=SEED), 10.0 + noise, rtol=1e-6)

    def test_passes_training_to_keras_layers(self):
        chain = Chain([keras.layers.Rescaling(2.0), keras.layers.Dropout(0.9), AddNoise()])
        np.testing.assert_array_equal(chain(tf.ones([4, 3]), training=False), np.full([4, 3], 2.0))
        assert np.any(chain(tf.ones([4, 3]), training=True) < 1.5)

    def test_builds_the_layers_inside(self):
        chain = Chain([AddNoise(), keras.layers.Dense(5)])
        assert chain(tf.ones([4, 3])).shape == (4, 5)
        assert len(chain.trainable_variables) == 2
        assert Chain([keras.layers.Dense(5)]).compute_output_shape((None, 3)) == (None, 5)
        assert Chain([keras.layers.Dense(5)])(keras.Input([3])).shape == (None, 5)

    def test_round_trips_through_its_config(self):
        chain = Chain([AddNoise(seed=1), keras.layers.Rescaling(2.0)], seed=3, name="both")
        restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(chain))
        assert restored.get_config() == chain.get_config()
        np.testing.assert_array_equal(restored(tf.ones([2, 3])), chain(tf.ones([2, 3])))

    def test_keras_image_layers_may_be_inside(self):
        chain = Chain([keras.layers.RandomFlip("horizontal"), image.RandomShift()])
        assert chain(tf.random.uniform([2, 8, 8, 3], maxval=255.0)).shape == (2, 8, 8, 3)

    def test_empty_chain_is_the_identity(self):
        np.testing.assert_array_equal(Chain([])(tf.ones([2, 3])), np.ones([2, 3]))

    @pytest.mark.parametrize("layers", [[1], keras.layers.Identity, None])
    def test_layers_of_the_wrong_type_are_named(self, layers):
        with pytest.raises(TypeError, match="`layers` of `Chain`"):
            Chain(layers)
