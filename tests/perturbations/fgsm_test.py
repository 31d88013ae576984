import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.perturbations import FGSM, PGD
from tests.contracts import numpy_reference as reference

NUMBERS = np.random.default_rng(1)
NETWORK = reference.Network([NUMBERS.normal(scale=0.6, size=shape) for shape in ((5, 4), (4,), (4, 3), (3,))])
INPUTS = NUMBERS.uniform(size=(6, 5))
LABELS = np.array([0, 1, 2, 0, 1, 2])
X = tf.constant(INPUTS, tf.float32)


def logits(x):
    w1, b1, w2, b2 = (tf.constant(parameter, tf.float32) for parameter in NETWORK.parameters)
    return tf.tanh(x @ w1 + b1) @ w2 + b2


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("clip_range", [None, (0, 1)])
@pytest.mark.parametrize(("target", "targeted"), [("label", False), ("label", True), ("least_likely", True)])
def test_it_equals_the_equation(norm, clip_range, target, targeted):
    """Goodfellow et al. 2015, section 4; Kurakin et al. 2017, section 2."""
    classes = LABELS if target == "label" else NETWORK.logits(INPUTS).argmin(axis=1)
    (slope,) = reference.gradient(
        lambda x: reference.cross_entropy(np.eye(3)[classes], NETWORK.logits(x[0])).sum(), [INPUTS]
    )
    direction = np.sign(slope) if norm == "linf" else slope / np.linalg.norm(slope, axis=1, keepdims=True)
    expected = INPUTS + (-0.3 if targeted else 0.3) * direction
    if clip_range:
        expected = np.clip(expected, *clip_range)
    attack = FGSM(radius=0.3, norm=norm, target=target, targeted=targeted, clip_range=clip_range)
    assert attack.reads_labels == (target == "label")
    found = attack(X, logits, **({"labels": LABELS} if attack.reads_labels else {}))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_it_draws_nothing_and_is_one_step_of_pgd():
    found = FGSM(radius=0.3)(X, logits, labels=LABELS, seed=[1, 2])
    np.testing.assert_array_equal(found, FGSM(radius=0.3)(X, logits, labels=LABELS, seed=[3, 4]))
    step = PGD(radius=0.3, steps=1, step_size=0.3, random_start=False)
    np.testing.assert_array_equal(found, step(X, logits, labels=LABELS))


def test_number_that_the_loss_does_not_depend_on_stays():
    found = FGSM(radius=0.3)(X, lambda x: logits(x * tf.constant([1.0, 0.0, 1.0, 1.0, 1.0])), labels=LABELS)
    np.testing.assert_array_equal(found[:, 1], X[:, 1])
    np.testing.assert_allclose(np.abs(found - X)[:, [0, 2, 3, 4]], 0.3, atol=1e-6)


def test_one_forward_and_one_backward_pass():
    calls = []
    FGSM(radius=0.3)(X, lambda x: calls.append(1) or logits(x), labels=LABELS)
    assert len(calls) == 1
