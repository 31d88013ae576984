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


@pytest.mark.parametrize("shape", [(4, 7), (3, 4, 5, 2)])
def test_steepest_step_rises_most(shape):
    slope = NUMBERS.normal(size=shape)
    slope[0] = 0.0
    np.testing.assert_array_equal(norms.steepest(tf.constant(slope, tf.float32), "linf"), np.sign(slope))
    lengths = np.sqrt((slope.reshape(shape[0], -1) ** 2).sum(1)).reshape([-1] + [1] * (len(shape) - 1))
    expected = slope / np.maximum(lengths, 1e-300)
    np.testing.assert_allclose(norms.steepest(tf.constant(slope, tf.float32), "l2"), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(6, 7), (6, 3, 4, 2)])
@pytest.mark.parametrize("radius", [0.0, 1.5])
def test_nearest_point_of_the_ball(shape, radius):
    offset = NUMBERS.normal(size=shape).astype("float32")
    offset[:3] *= 0.01  # inside, but for the radius zero
    offset[0] = 0.0
    found = norms.within(tf.constant(offset), radius, "linf").numpy()
    np.testing.assert_array_equal(found, np.clip(offset, -radius, radius))
    lengths = np.sqrt((offset.reshape(6, -1).astype("float64") ** 2).sum(1))
    share = np.minimum(1.0, radius / np.maximum(lengths, 1e-300)).reshape([-1] + [1] * (len(shape) - 1))
    found = norms.within(tf.constant(offset), radius, "l2").numpy()
    np.testing.assert_allclose(found, offset * share, rtol=1e-6)
    if radius:
        np.testing.assert_array_equal(found[:3], offset[:3])
        assert np.any(share < 1)


@pytest.mark.parametrize("size", [2, 3072, 150_528])
@pytest.mark.parametrize("radius", [1e-3, 1.0, 3e4])
def test_ball_is_never_left_by_rounding(size, radius):
    offset = tf.constant(NUMBERS.normal(size=(5, size)) * radius, tf.float32)
    lengths = np.linalg.norm(norms.within(offset, radius, "l2").numpy().astype("float64"), axis=1)
    assert np.all(lengths <= max(radius, np.float32(radius)) * (1 + 1e-9))
    assert size == 2 or np.all(lengths >= radius * (1 - 1e-6))
