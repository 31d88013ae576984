"""A divergence between the student's own views, against its definition in float64."""

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import keras_consistency as kc
from tests.contracts import numpy_reference as reference

NUMBERS = np.random.default_rng(0)
VIEWS = [NUMBERS.normal(scale=2, size=(6, 4)) for _ in range(3)]


def kullback_leibler(first, second):
    return (reference.softmax(first) * (reference.log_softmax(first) - reference.log_softmax(second))).sum(-1)


def squared_error(first, second):
    return ((reference.softmax(first) - reference.softmax(second)) ** 2).mean(-1)


def squared_distance(first, second):
    return ((first - second) ** 2).mean(-1)


DIVERGENCES = {
    "KullbackLeibler": kullback_leibler,
    "SquaredError": squared_error,
    "SquaredDistance": squared_distance,
}


def call(name, views, method="__call__"):
    """Values, and the gradient in each view."""
    views = [tf.constant(view, tf.float32) for view in views]
    part = kc.divergences.Between(getattr(kc.divergences, name)())
    with tf.GradientTape() as tape:
        tape.watch(views)
        nothing = [None] * len(views)
        values = part(None, views) if method == "__call__" else part.loss(nothing, views, [tf.ones(6)] * len(views))
    return values, tape.gradient(values, views)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_values_and_gradients_in_all_views_equal_the_formula(name, count):
    def formula(views):
        return sum(DIVERGENCES[name](views[0], view) for view in views[1:]) / (count - 1)

    values, slopes = call(name, VIEWS[:count])
    np.testing.assert_allclose(values, formula(VIEWS[:count]), rtol=1e-5)
    expected = reference.gradient(lambda moved: formula(moved).sum(), VIEWS[:count])
    for slope, each in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(slope, each, rtol=1e-4, atol=1e-6)
        assert np.abs(slope).max() > 0.01


def test_of_probabilities_it_is_scipys_relative_entropy_and_no_symmetric_one():
    first, second = (reference.softmax(view) for view in VIEWS[:2])
    there, back = call("KullbackLeibler", VIEWS[:2])[0], call("KullbackLeibler", VIEWS[1::-1])[0]
    np.testing.assert_allclose(there, scipy.special.rel_entr(first, second).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(back, scipy.special.rel_entr(second, first).sum(-1), rtol=1e-5)
    assert np.abs(there - back).min() > 1e-3


def test_loss_is_the_mean_over_the_examples():
    expected = (kullback_leibler(*VIEWS[:2]) + kullback_leibler(VIEWS[0], VIEWS[2])).mean() / 2
    np.testing.assert_allclose(call("KullbackLeibler", VIEWS, "loss")[0], expected, rtol=1e-5)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_equal_views_have_none_and_pull_nowhere(name):
    values, slopes = call(name, [VIEWS[0]] * 2)
    np.testing.assert_allclose(values, np.zeros(6), atol=1e-6)
    for slope in slopes:
        np.testing.assert_allclose(slope, np.zeros([6, 4]), atol=1e-6)


def test_certain_answers_that_differ_stay_finite():
    certain = np.array([[1e4, 0, 0], [0, 1e4, 0], [0, 0, 1e4]])
    values, slopes = call("KullbackLeibler", [certain, np.roll(certain, 1, axis=0)])
    np.testing.assert_allclose(values, np.full(3, 1e4), rtol=1e-5)
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_pixels_are_examples():
    images = [view.reshape(2, 3, 1, 4) for view in VIEWS[:2]]
    values, _ = call("KullbackLeibler", images)
    np.testing.assert_allclose(values, kullback_leibler(*VIEWS[:2]).reshape(2, 3, 1), rtol=1e-5)


def test_one_view_is_refused():
    with pytest.raises(ValueError, match="`student_view` must be a list of two or more views.*Received: 1 view"):
        call("KullbackLeibler", VIEWS[:1], "loss")


def test_only_a_divergence_with_a_target_stands_between_views():
    for divergence in (kc.divergences.Entropy(), kc.divergences.JensenShannon()):
        with pytest.raises(ValueError, match=r"`divergence` must compare a target.*Received: divergence=\w+\(\)"):
            kc.divergences.Between(divergence)
    for other in (None, "kl", kc.divergences.KullbackLeibler, kc.targets.Soft()):
        with pytest.raises(TypeError, match="`divergence` must be a part of `kc.divergences`.*Received: divergence="):
            kc.divergences.Between(other)


@pytest.mark.parametrize(("name", "outputs"), [("KullbackLeibler", 3), ("SquaredDistance", 3), ("SquaredDistance", 1)])
def test_a_term_of_classes_says_how_often_the_views_agree_and_one_of_values_does_not(name, outputs):
    views = [None, kc.View(perturbation=kc.perturbations.GaussianNoise(stddev=2.0))]
    divergence = kc.divergences.Between(getattr(kc.divergences, name)())
    student = keras.Sequential([keras.Input([5]), keras.layers.Dense(outputs)])
    model = kc.ConsistencyModel(student, kc.Consistency(student_view=views, divergence=divergence, name="term"), seed=1)
    model.compile("sgd", loss="mse" if outputs == 1 else keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = NUMBERS.normal(size=(64, 5)).astype("float32")
    logs = model.train_on_batch({"labeled": x, "unlabeled": x}, np.zeros(64, "int32"), return_dict=True)
    assert logs["term_loss"] > 0
    assert {key for key in logs if key.startswith("term")} == {"term_loss"} | (
        {"term_agreement"} if name == "KullbackLeibler" else set()
    )
    assert 0 < logs.get("term_agreement", 0.5) < 1


def test_a_divergence_of_classes_needs_two():
    term = kc.Consistency(
        student_view=[None, kc.View(perturbation=kc.perturbations.GaussianNoise(stddev=1.0))],
        divergence=kc.divergences.Between(kc.divergences.KullbackLeibler()),
    )
    with pytest.raises(ValueError, match="`Between` compares class probabilities.*at least 2 classes.*Received: 1"):
        kc.ConsistencyModel(keras.Sequential([keras.Input([5]), keras.layers.Dense(1)]), term)
