import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.ops import rows


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("mask", [[1, 0, 1, 0, 0], [0] * 5, [1] * 5])
def test_only_chosen_rows_change(mask, jit):
    target = np.arange(10).reshape(5, 2).astype("uint8")
    factors = np.array([2, 3, 4, 5, 6], "uint8")
    mask = np.array(mask, bool)

    @tf.function(jit_compile=jit)
    def multiply(mask, target, factors):
        return rows.update(mask, lambda rows, factor: rows * factor[:, None], target, factors)

    expected = np.where(mask[:, None], target * factors[:, None], target)
    np.testing.assert_array_equal(multiply(mask, target, factors), expected)


def test_function_sees_no_row_that_was_not_chosen():
    target = tf.constant([[1.0], [np.nan], [3.0]])
    seen = []
    rows.update(tf.constant([True, False, True]), lambda rows: seen.append(rows.numpy()) or rows, target)
    np.testing.assert_array_equal(seen[0], [[1.0], [3.0]])


def test_empty_batch_stays_empty():
    assert rows.update(tf.zeros([0], tf.bool), lambda rows: rows + 1, tf.zeros([0, 3])).shape == (0, 3)
