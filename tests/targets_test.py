import numpy as np
import pytest

from keras_consistency import targets
from keras_consistency.parts import Look

LOGITS = np.random.default_rng(0).normal(scale=3, size=(6, 4))


def look(logits):
    return Look(logits=np.asarray(logits, "float32"), step=0)


@pytest.mark.parametrize("temperature", [0.25, 0.5, 1.0, 3.0])
def test_soft_target_is_the_sharpened_probability(temperature):
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    expected = p ** (1 / temperature) / (p ** (1 / temperature)).sum(-1, keepdims=True)
    np.testing.assert_allclose(targets.Soft(temperature=temperature)(look(LOGITS)), expected, rtol=1e-5, atol=1e-7)


def test_soft_target_of_extreme_logits_is_finite():
    found = targets.Soft(temperature=0.1)(look([[1e4, -1e4, 0, 0]])).numpy()
    np.testing.assert_array_equal(found, [[1, 0, 0, 0]])


def test_hard_target_is_the_most_probable_class():
    np.testing.assert_array_equal(targets.Hard()(look(LOGITS)), np.eye(4)[LOGITS.argmax(-1)])


def test_hard_target_of_a_tie_is_one_class():
    np.testing.assert_array_equal(targets.Hard()(look(np.zeros([2, 4]))), np.eye(4)[[0, 0]])


@pytest.mark.parametrize("temperature", [0, -1, float("inf"), float("nan"), "1", None, True])
def test_temperature_out_of_range_is_refused(temperature):
    with pytest.raises(ValueError, match=r"`temperature` must be a number in \(0, inf\).*Received: temperature="):
        targets.Soft(temperature=temperature)
