import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.ops import norms

NUMBERS = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(4, 7), (3, 4, 5, 2)])
def test_each_example_has_length_one(shape):
    value = NUMBERS.normal(size=shape)
    lengths = np.sqrt((value.reshape(shape[0], -1) ** 2).sum(1)).reshape([-1] + [1] * (len(shape) - 1))
    np.testing.assert_allclose(norms.unit_l2(tf.constant(value, tf.float32)), value / lengths, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-35, 1e-30, 1e-20, 1e20, 1e37])
def test_lengths_beyond_what_squares_can_hold(size):
    value = NUMBERS.normal(size=(3, 5))
    found = norms.unit_l2(tf.constant(value * size, tf.float32))
    np.testing.assert_allclose(found, value / np.linalg.norm(value, axis=1, keepdims=True), rtol=1e-4)


def test_zero_stays_zero():
    np.testing.assert_array_equal(
        norms.unit_l2(tf.constant([[0.0, 0.0], [3.0, 4.0]])), np.float32([[0, 0], [0.6, 0.8]])
    )
