"""TrivialAugment's operations against PIL, and what it draws."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_consistency.augment.image import TrivialAugment
from tests.augment.image.pil_operations import assert_operation_is_pils

SEED = tf.constant([5, 6], tf.int64)
# What an operation of strength s, one way or the other, does, in the units of PIL.
AMOUNTS = {
    "identity": lambda s, sign: 0,
    "autocontrast": lambda s, sign: 1,
    "equalize": lambda s, sign: 1,
    "rotate": lambda s, sign: sign * 135 * s,
    "solarize": lambda s, sign: 256 - 256 * s,
    "color": lambda s, sign: 1 + sign * 0.99 * s,
    "posterize": lambda s, sign: 8 - 6 * s,
    "contrast": lambda s, sign: 1 + sign * 0.99 * s,
    "brightness": lambda s, sign: 1 + sign * 0.99 * s,
    "sharpness": lambda s, sign: 1 + sign * 0.99 * s,
    "shear_x": lambda s, sign: sign * 0.99 * s,
    "shear_y": lambda s, sign: sign * 0.99 * s,
    "shift_x": lambda s, sign: sign * 32 * s,
    "shift_y": lambda s, sign: sign * 32 * s,
}


def draw(**kwargs):
    images = np.zeros([10_000, 1, 1, 1], "uint8")
    drawn = TrivialAugment(**kwargs).get_random_transformation(SEED, images)
    return {key: value.numpy() for key, value in drawn.items()}


def test_operations_are_the_wide_space():
    assert set(TrivialAugment.OPERATIONS) == set(AMOUNTS)


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operation_is_pils_within_one_level(name, channels):
    # At 0.77, images of this size are shifted out of sight.
    assert_operation_is_pils(TrivialAugment, name, AMOUNTS[name], channels=channels, strengths=(0.2, 0.5, 0.77, 1.0))


def test_one_operation_is_drawn_uniformly():
    drawn = draw()
    assert {value.shape for value in drawn.values()} == {(10_000, 1)}
    counts = np.bincount(drawn["operations"][:, 0], minlength=14)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    assert set(np.unique(drawn["signs"])) == {-1, 1} and abs(drawn["signs"].mean()) < 0.03


@pytest.mark.parametrize("magnitude", [1.0, 0.3])
def test_strengths_are_uniform_up_to_the_magnitude(magnitude):
    drawn = draw(magnitude=magnitude)
    assert scipy.stats.kstest(drawn["strengths"][:, 0], scipy.stats.uniform(0, magnitude).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(drawn["strengths"][:, 0], drawn["operations"][:, 0])[0, 1]) < 0.04
