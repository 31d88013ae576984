import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_consistency import labels

NUMBERS = np.random.default_rng(0)


@pytest.mark.parametrize("given", [[0, 2, 1], [[0], [2], [1]]])
@pytest.mark.parametrize("dtype", [tf.uint8, tf.int64, tf.float32])
def test_class_numbers_become_one_hot(given, dtype):
    found = labels.as_probabilities(tf.constant(given, dtype), 3)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, np.eye(3)[[0, 2, 1]])


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64, tf.int32])
def test_probabilities_stay(dtype):
    np.testing.assert_array_equal(labels.as_probabilities(tf.constant(np.eye(3), dtype), 3), np.eye(3))


@pytest.mark.parametrize("from_logits", [True, False])
def test_sparse_cross_entropy_becomes_the_dense_one(from_logits):
    values = NUMBERS.dirichlet(np.ones(4), size=5).astype("float32")
    values = np.log(values) if from_logits else values
    y, weight = NUMBERS.integers(4, size=5), NUMBERS.uniform(size=5).astype("float32")
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    dense = labels.loss_on_probabilities(sparse)
    np.testing.assert_allclose(dense(np.eye(4)[y], values, weight), sparse(y, values, weight), rtol=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight"])
def test_reduction_is_kept(reduction):
    dense = labels.loss_on_probabilities(
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    )
    assert dense.reduction == reduction


def test_dense_cross_entropy_and_its_smoothing_are_kept():
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    assert labels.loss_on_probabilities(loss) is loss


@pytest.mark.parametrize(
    "loss",
    ["mse", keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0), keras.losses.Hinge(), None],
)
def test_other_losses_are_refused(loss):
    with pytest.raises(ValueError, match="`loss` must be `SparseCategoricalCrossentropy` or `CategoricalCrossentropy`"):
        labels.loss_on_probabilities(loss)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("bad", [[0, 3], [-1, 0], [[3], [0]], [7.0]])
def test_labels_outside_the_classes_are_refused(bad, compiled):
    check = tf.function(labels.checked) if compiled else labels.checked
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="class numbers from 0 to 2"):
        check(tf.constant(bad), 3)


@pytest.mark.parametrize("good", [[0, 2], [[1], [2]], [[9, 9]], [[0.5, 0.25, 0.25]], [2.0]])
def test_other_labels_pass_unchanged(good):
    np.testing.assert_array_equal(labels.checked(tf.constant(good), 3), good)


def test_labels_of_another_structure_pass_unchanged():
    given = {"logits": tf.constant([5])}
    assert labels.checked(given, 3) is given
