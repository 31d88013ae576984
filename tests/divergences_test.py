import numpy as np
import pytest
import tensorflow as tf

from keras_consistency import divergences
from tests.contracts import numpy_reference as reference

NUMBERS = np.random.default_rng(0)
TARGET = reference.softmax(NUMBERS.normal(scale=2, size=(6, 4)))
LOGITS = NUMBERS.normal(scale=2, size=(6, 4))
FORMULAS = {
    "CrossEntropy": reference.cross_entropy,
    "KullbackLeibler": reference.kullback_leibler,
    "SquaredError": reference.squared_error,
    "Entropy": lambda target, logits: reference.entropy(logits),
}
# Their formulas are in the other `divergences_*_test`.
ELSEWHERE = {
    "Between",
    "CosineSimilarity",
    "Fairness",
    "GraphContrast",
    "Huber",
    "InstanceCrossEntropy",
    "JensenShannon",
    "SquaredDistance",
}


def call(name, target, logits):
    """Values and the gradients in the logits and in the target."""
    target, logits = tf.constant(target, tf.float32), tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([target, logits])
        values = getattr(divergences, name)()(target, logits)
    return values, *tape.gradient(values, [logits, target])


def test_every_divergence_has_a_formula():
    public = {name for name, value in vars(divergences).items() if isinstance(value, type)}
    assert public - {"Divergence", "Part"} == set(FORMULAS) | ELSEWHERE


@pytest.mark.parametrize("target", [TARGET, np.eye(4)[[0, 1, 2, 3, 0, 1]]], ids=["soft", "hard"])
@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_gradient_equal_the_formula(name, target):
    values, slope, _ = call(name, target, LOGITS)
    np.testing.assert_allclose(values, FORMULAS[name](target, LOGITS), rtol=1e-5, atol=1e-6)
    (expected,) = reference.gradient(lambda moved: FORMULAS[name](target, moved[0]).sum(), [LOGITS])
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["KullbackLeibler", "SquaredError"])
def test_distance_of_equals_is_zero(name):
    values, slope, _ = call(name, reference.softmax(LOGITS), LOGITS)
    np.testing.assert_allclose(values, np.zeros(6), atol=1e-6)
    np.testing.assert_allclose(slope, np.zeros([6, 4]), atol=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_extreme_logits_and_targets_stay_finite(name):
    values, slope, _ = call(name, [[0, 1, 0, 0]], [[1e4, -1e4, 50, 0]])
    assert np.isfinite(values).all() and np.isfinite(slope).all()


def test_only_entropy_looks_at_no_target():
    assert [name for name in FORMULAS if not getattr(divergences, name).needs_target] == ["Entropy"]
    values, _, into_target = call("Entropy", TARGET, LOGITS)
    assert into_target is None
    np.testing.assert_allclose(values, divergences.Entropy()(None, tf.constant(LOGITS, tf.float32)))
