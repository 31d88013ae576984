import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
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
    def check(given):
        return labels.checked(given, (None, 3))

    check = tf.function(check) if compiled else check
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="class numbers from 0 to 2"):
        check(tf.constant(bad))


def test_labels_of_pixels_outside_the_classes_are_refused():
    good = tf.constant([[[0, 1], [2, 2]]])
    for given in (good, good[..., tf.newaxis]):
        np.testing.assert_array_equal(labels.checked(given, (None, 2, 2, 3)), given)
        with pytest.raises(ValueError, match="class numbers from 0 to 2"):
            labels.checked(given + 1, (None, 2, 2, 3))


@pytest.mark.parametrize("good", [[0, 2], [[1], [2]], [[9, 9, 9]], [[0.5, 0.25, 0.25]], [2.0]])
def test_other_labels_pass_unchanged(good):
    np.testing.assert_array_equal(labels.checked(tf.constant(good), (None, 3)), good)


@pytest.mark.parametrize("good", [[-1.5, 9.0], [[-1.5], [9.0]]])
def test_values_of_a_regression_pass_unchanged(good):
    np.testing.assert_array_equal(labels.checked(tf.constant(good), (None, 1)), good)


def test_labels_of_another_structure_pass_unchanged():
    given = {"logits": tf.constant([5])}
    assert labels.checked(given, (None, 3)) is given
    several = tf.constant([5])
    assert labels.checked(several, None) is several


@pytest.mark.parametrize(
    ("given", "shape", "expected"),
    [
        ([2, 0], (None, 3), [[0, 0, 1], [1, 0, 0]]),
        ([[2], [0]], (None, 3), [[0, 0, 1], [1, 0, 0]]),
        ([[0.5, 0.5, 0.0]], (None, 3), [[0.5, 0.5, 0]]),
        ([1.5, -2.0], (None, 1), [[1.5], [-2]]),
        ([[1.5], [-2.0]], (None, 1), [[1.5], [-2]]),
        ([[[1, 0]]], (None, 1, 2, 2), [[[[0, 1], [1, 0]]]]),
        ([[[[1], [0]]]], (None, 1, 2, 2), [[[[0, 1], [1, 0]]]]),
        ({"a": [1], "b": [0]}, (None, 2), [[0, 1]]),
        ({"b": [0]}, (None, 2), None),
        ([[0, 1], [1, 0]], (None, 3), None),
        (["cat"], (None, 3), None),
        ([2, 0], None, None),
    ],
)
def test_labels_take_the_shape_of_the_answers(given, shape, expected):
    given = {key: tf.constant(value) for key, value in given.items()} if isinstance(given, dict) else tf.constant(given)
    found = labels.as_targets(given, "a" if isinstance(given, dict) else None, shape)
    if expected is None:
        assert found is None
    else:
        assert found.dtype == tf.float32
        np.testing.assert_array_equal(found, expected)


def test_repeated_is_one_copy_after_the_other():
    y, weight = labels.repeated((tf.constant([1, 2]), None), 2)
    np.testing.assert_array_equal(y, [1, 2, 1, 2])
    assert weight is None
    given = (tf.constant([1]), None)
    assert labels.repeated(given, 1) is given


def test_a_class_number_that_the_loss_ignores_is_no_mistake():
    labels_ = tf.constant([[0, 255], [2, 1]])
    np.testing.assert_array_equal(labels.checked(labels_, (None, 2, 3), ignored=255), labels_)
    with pytest.raises(ValueError, match="`y` must hold class numbers from 0 to 2"):
        labels.checked(labels_, (None, 2, 3))


def test_a_model_whose_loss_ignores_a_class_trains_on_the_rest():
    student = keras.Sequential([keras.Input([4, 4, 1]), keras.layers.Conv2D(3, 1)])
    model = kc.ConsistencyModel(student, kc.Consistency())
    model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255))
    x, y = np.ones([2, 4, 4, 1], "float32"), np.full([2, 4, 4], 255)
    before = model.train_on_batch({"labeled": x, "unlabeled": x}, y, return_dict=True)
    assert before["supervised_loss"] == 0
    y[0, 1, 2] = 1
    assert model.train_on_batch({"labeled": x, "unlabeled": x}, y, return_dict=True)["supervised_loss"] > 0


SCALES, PER_IMAGE = (0.25, 1.5), NUMBERS.uniform(size=3).astype("float32")


@pytest.mark.parametrize(
    ("weight", "shape"),
    [
        (None, (3, 4)),
        (None, (3, 2, 2, 4)),
        (PER_IMAGE, (3, 4)),
        (PER_IMAGE[:, None, None], (3, 2, 2, 4)),
        (NUMBERS.uniform(size=(3, 2, 2)).astype("float32"), (3, 2, 2, 4)),
    ],
    ids=["none", "none, pixels", "examples", "examples, pixels", "pixels"],
)
def test_a_loss_with_scaled_weights_is_the_sum_of_factors_times_that_of_each_view(weight, shape):
    views = [tf.constant(NUMBERS.normal(size=shape), tf.float32) for _ in SCALES]
    y = NUMBERS.integers(shape[-1], size=shape[:-1])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = sum(scale * loss(y, view, weight) for scale, view in zip(SCALES, views, strict=True))
    together = tf.concat(views, axis=0)
    repeated, weights = labels.repeated((tf.constant(y), None if weight is None else tf.constant(weight)), len(SCALES))
    found = labels.scaled(weights, SCALES, together)
    assert found.dtype == tf.float32 and found.shape[0] == len(together)
    np.testing.assert_allclose(loss(repeated, together, found), expected, rtol=1e-5)


def test_scaled_weights_of_several_outputs_keep_their_structure():
    y_pred = {"a": tf.zeros([4, 3]), "b": tf.zeros([4, 2, 5])}
    given = {"a": tf.constant([1.0, 2.0, 1.0, 2.0]), "b": tf.ones([4, 2], tf.float64)}
    found = labels.scaled(given, SCALES, y_pred)
    np.testing.assert_allclose(found["a"], [0.5, 1.0, 3.0, 6.0])
    np.testing.assert_allclose(found["b"], [[0.5, 0.5]] * 2 + [[3.0, 3.0]] * 2)
    np.testing.assert_allclose(labels.scaled(None, SCALES, y_pred), [0.5, 0.5, 3.0, 3.0])
