import numpy as np
import tensorflow as tf

from keras_consistency.ops.fused import fused


def plain(batch, other):
    """The smaller of the products with one another and with two, row by row."""
    return tf.minimum(batch * other, 2.0 * batch)


BATCH = tf.constant(np.random.default_rng(0).normal(size=(3, 4)), tf.float32)
OTHER = tf.constant(np.random.default_rng(1).normal(size=(3, 4)) * 3, tf.float32)


def test_values_and_gradients_are_those_of_the_function():
    found = []
    for function in (plain, fused(plain)):
        with tf.GradientTape() as tape:
            tape.watch([BATCH, OTHER])
            value = function(BATCH, OTHER)
        found.append([value, *tape.gradient(value, [BATCH, OTHER])])
    for expected, value in zip(*found, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        assert np.any(value != 0)


def test_it_is_compiled_where_the_shape_is_known_and_once():
    traced = []

    def recorded(batch):
        traced.append(batch.shape)
        return batch + 1.0

    function = fused(recorded)
    graph = tf.function(lambda batch: function(batch)).get_concrete_function(tf.TensorSpec([3, 4]))
    nested = [each for each in graph.graph.get_operations() if "Partitioned" in each.type]
    assert len(nested) == 1
    for _ in range(3):
        np.testing.assert_array_equal(function(BATCH), BATCH + 1.0)
    assert len(traced) == 1


def test_it_is_called_as_it_is_where_the_shape_is_not_known():
    function = fused(plain)
    graph = tf.function(lambda batch, other: function(batch, other), input_signature=[tf.TensorSpec([None, None])] * 2)
    assert not [each for each in graph.get_concrete_function().graph.get_operations() if "Partitioned" in each.type]
    np.testing.assert_allclose(graph(BATCH, OTHER), plain(BATCH, OTHER), rtol=1e-6)
