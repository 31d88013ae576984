"""The Jensen-Shannon divergence of several views, against its definition in float64."""

import numpy as np
import pytest
import scipy.spatial.distance
import tensorflow as tf

import keras_consistency as kc
from tests.contracts import numpy_reference as reference

NUMBERS = np.random.default_rng(0)
VIEWS = [NUMBERS.normal(scale=2, size=(6, 4)) for _ in range(3)]


def divergence(views):
    """Of each example: the mean of the divergences of the views from their mean."""
    answers = [reference.softmax(view) for view in views]
    mean = sum(answers) / len(answers)
    return sum(np.sum(p * (np.log(p) - np.log(mean)), axis=-1) for p in answers) / len(answers)


def call(views, method="__call__"):
    """Values, and the gradient in each view."""
    views = [tf.constant(view, tf.float32) for view in views]
    with tf.GradientTape() as tape:
        tape.watch(views)
        part = kc.divergences.JensenShannon()
        nothing = [None] * len(views)
        values = part(None, views) if method == "__call__" else part.loss(nothing, views, [tf.ones(6)] * len(views))
    return values, tape.gradient(values, views)


@pytest.mark.parametrize("count", [2, 3])
def test_values_and_gradients_in_all_views_equal_the_formula(count):
    values, slopes = call(VIEWS[:count])
    np.testing.assert_allclose(values, divergence(VIEWS[:count]), rtol=1e-5)
    expected = reference.gradient(lambda moved: divergence(moved).sum(), VIEWS[:count])
    for slope, each in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(slope, each, rtol=1e-4, atol=1e-6)
        assert np.abs(slope).max() > 0.01


def test_two_views_have_scipys_divergence():
    first, second = (reference.softmax(view) for view in VIEWS[:2])
    expected = scipy.spatial.distance.jensenshannon(first, second, axis=-1) ** 2
    np.testing.assert_allclose(call(VIEWS[:2])[0], expected, rtol=1e-5)


def test_loss_is_the_mean_over_the_examples():
    np.testing.assert_allclose(call(VIEWS, "loss")[0], divergence(VIEWS).mean(), rtol=1e-5)


def test_equal_views_have_none():
    values, slopes = call([VIEWS[0]] * 3)
    np.testing.assert_allclose(values, np.zeros(6), atol=1e-6)
    for slope in slopes:
        np.testing.assert_allclose(slope, np.zeros([6, 4]), atol=1e-6)


def test_certain_answers_that_differ_stay_finite_and_are_the_most():
    certain = np.array([[1e4, 0, 0], [0, 1e4, 0], [0, 0, 1e4]])
    values, slopes = call([certain, np.roll(certain, 1, axis=0), np.roll(certain, 2, axis=0)])
    np.testing.assert_allclose(values, np.full(3, np.log(3)), rtol=1e-5)
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_pixels_are_examples():
    images = [view.reshape(2, 3, 1, 4) for view in VIEWS]
    np.testing.assert_allclose(call(images)[0], divergence(VIEWS).reshape(2, 3, 1), rtol=1e-5)


def test_one_view_is_refused():
    with pytest.raises(ValueError, match="`student_view` must be a list of two or more views.*Received: 1 view"):
        call(VIEWS[:1], "loss")
