import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.ops import replicas


@pytest.fixture(scope="module")
def two():
    """Runs a function of the replica's number on two replicas; what each returned."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())

    def run(function):
        def step():
            return function(tf.distribute.get_replica_context().replica_id_in_sync_group)

        return strategy.experimental_local_results(tf.function(strategy.run)(step))

    return run


ROWS = np.arange(12, dtype="float32").reshape(4, 3)


def rows_of(number):
    return tf.constant(ROWS)[2 * number : 2 * number + 2]


def test_one_replica_is_the_identity():
    assert replicas.count() == 1 and replicas.position() == 0
    for function in (replicas.all_sum, replicas.all_gather, replicas.local_rows):
        np.testing.assert_array_equal(function(tf.constant(ROWS)), ROWS)


def test_count_and_position(two):
    np.testing.assert_array_equal(
        two(lambda number: tf.stack([replicas.count(), replicas.position()])), [[2, 0], [2, 1]]
    )


@pytest.mark.parametrize("dtype", [tf.float32, tf.int32])
def test_sum(two, dtype):
    for total in two(lambda number: replicas.all_sum(tf.cast([number + 1, 10 * number], dtype))):
        assert total.dtype == dtype
        np.testing.assert_array_equal(total, [3, 10])


def test_sum_of_a_list(two):
    for one, other in two(lambda number: tuple(replicas.all_sum([tf.constant(1.0), tf.ones([2])]))):
        assert float(one) == 2
        np.testing.assert_array_equal(other, [2, 2])


@pytest.mark.parametrize("dtype", [tf.float32, tf.int32, tf.int64])
def test_gather_is_in_the_order_of_the_batch(two, dtype):
    for found in two(lambda number: replicas.all_gather(tf.cast(rows_of(number), dtype))):
        np.testing.assert_array_equal(found, tf.cast(ROWS, dtype))


def test_local_rows_are_the_inverse_of_gather(two):
    found = two(lambda number: replicas.local_rows(replicas.all_gather(rows_of(number))))
    np.testing.assert_array_equal(np.concatenate(found), ROWS)
