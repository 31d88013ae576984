"""RandAugment's operations against PIL, and what it draws."""

import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.augment.image import RandAugment
from tests.augment.image.pil_operations import (
    GREY,
    PIL_OPERATIONS,
    affine,
    assert_operation_is_pils,
    chosen,
    far_off,
    picture,
    to_pil,
)

OPERATIONS = list(RandAugment.OPERATIONS)
SEED = tf.constant([5, 6], tf.int64)
# Chi-square at 0.1 % for 13 degrees of freedom.
CHI_SQUARE_13 = 34.53
# What an operation of strength s, one way or the other, does, in the units of PIL.
AMOUNTS = {
    "identity": lambda s, sign: 0,
    "autocontrast": lambda s, sign: 1,
    "equalize": lambda s, sign: 1,
    "rotate": lambda s, sign: sign * 30 * s,
    "solarize": lambda s, sign: 256 - 256 * s,
    "color": lambda s, sign: 1 - 0.95 * s,
    "posterize": lambda s, sign: 8 - 4 * s,
    "contrast": lambda s, sign: 1 - 0.95 * s,
    "brightness": lambda s, sign: 1 - 0.95 * s,
    "sharpness": lambda s, sign: 1 - 0.95 * s,
    "shear_x": lambda s, sign: sign * 0.3 * s,
    "shear_y": lambda s, sign: sign * 0.3 * s,
    "translate_x": lambda s, sign: sign * 0.3 * s,
    "translate_y": lambda s, sign: sign * 0.3 * s,
}


def by_pil(pil, name, strength, sign=1.0):
    return PIL_OPERATIONS[name](pil, AMOUNTS[name](strength, sign))


def test_operations_are_the_papers_fourteen():
    assert len(OPERATIONS) == 14 and set(OPERATIONS) == set(AMOUNTS)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operation_is_pils_within_one_level(name, channels):
    assert_operation_is_pils(RandAugment, name, AMOUNTS[name], channels=channels, strengths=(0.2, 0.5, 0.77, 1.0))


@pytest.mark.parametrize("name", OPERATIONS)
def test_strength_zero_is_the_identity_to_the_bit(name):
    images = tf.random.stateless_uniform([2, 9, 11, 3], SEED, maxval=255.0)
    ours = RandAugment().transform_images(images, chosen(RandAugment, (name, 0.0, 1.0), (name, 0.0, -1.0), count=2))
    np.testing.assert_array_equal(ours, images)


@pytest.mark.parametrize(
    "names",
    [
        ("solarize", "equalize"),
        ("equalize", "solarize"),
        ("posterize", "autocontrast", "brightness"),
        ("brightness", "color", "solarize"),
        ("sharpness", "equalize", "color", "contrast"),
    ],
)
def test_colour_operations_come_in_the_order_drawn(names):
    image = pil = picture()
    pil = to_pil(image)
    for name in names:
        pil = by_pil(pil, name, 0.6)
    drawn = chosen(RandAugment, *((name, 0.6, 1.0) for name in names))
    ours = RandAugment().transform_images(tf.constant(image[None]), drawn)[0]
    assert far_off(ours, pil) == 0


def test_geometric_operations_become_one_warp_after_the_colours():
    image = picture(31, 31)
    slots = [("shear_x", 0.5, 1.0), ("brightness", 0.4, 1.0), ("translate_y", 0.5, -1.0)]
    ours = RandAugment().transform_images(tf.constant(image[None]), chosen(RandAugment, *slots))[0]
    # Output (x, y) shows (x, y - 4.65) of the sheared image, which shows (x + 0.15 (y - 4.65), y - 4.65) of the image.
    expected = affine(by_pil(to_pil(image), "brightness", 0.4), 1, 0.15, -0.6975, 0, 1, -4.65)
    assert far_off(ours, expected) <= 0.01
    assert np.all(ours[0] == GREY)


def test_each_image_gets_its_own_operations():
    image = picture()
    slots = [chosen(RandAugment, (name, 0.5, 1.0)) for name in OPERATIONS]
    transformation = {key: tf.concat([slot[key] for slot in slots], axis=0) for key in slots[0]}
    ours = RandAugment().transform_images(tf.constant(np.stack([image] * len(OPERATIONS))), transformation)
    for view, name in zip(ours, OPERATIONS, strict=True):
        assert far_off(view, by_pil(to_pil(image), name, 0.5)) <= 0.01


def test_fill_and_interpolation_are_used():
    image = picture()
    transformation = chosen(RandAugment, ("translate_x", 0.5, 1.0))
    ours = RandAugment(fill=1.0, interpolation="nearest").transform_images(tf.constant(image[None]), transformation)[0]
    np.testing.assert_array_equal(ours[:, -4:], np.full([19, 4, 3], 255))
    assert set(np.unique(ours[:, :20])) <= set(np.unique(image))


class TestDraws:
    layer = RandAugment(num_ops=2)
    images = np.zeros([10_000, 1, 1, 1], "uint8")

    def draw(self, **kwargs):
        transformation = RandAugment(**kwargs).get_random_transformation(SEED, self.images)
        return {key: value.numpy() for key, value in transformation.items()}

    def test_operations_are_uniform_in_each_slot_and_independent(self):
        operations = self.draw()["operations"]
        assert operations.shape == (10_000, 2)
        for slot in operations.T:
            counts = np.bincount(slot, minlength=14)
            assert np.sum((counts - 10_000 / 14) ** 2) / (10_000 / 14) < CHI_SQUARE_13
        pairs = np.bincount(operations[:, 0] * 14 + operations[:, 1], minlength=196)
        # 195 degrees of freedom at 0.1 %.
        assert np.sum((pairs - 10_000 / 196) ** 2) / (10_000 / 196) < 262

    def test_strengths_are_uniform_up_to_the_magnitude(self):
        strengths = self.draw(magnitude=0.6)["strengths"]
        assert 0 <= strengths.min() < 0.001 and 0.599 < strengths.max() <= 0.6
        np.testing.assert_allclose(np.quantile(strengths, [0.25, 0.5, 0.75]), [0.15, 0.3, 0.45], atol=0.01)

    def test_fixed_magnitude_is_every_strength(self):
        assert np.all(self.draw(magnitude=0.6, uniform_magnitude=False)["strengths"] == np.float32(0.6))

    def test_probability_is_the_share_applied(self):
        strengths = self.draw(probability=0.3, uniform_magnitude=False)["strengths"]
        assert np.mean(strengths == 1) == pytest.approx(0.3, abs=0.015) and np.mean(strengths == 0) > 0.6

    def test_signs_are_even(self):
        signs = self.draw()["signs"]
        assert set(np.unique(signs)) == {-1, 1} and abs(signs.mean()) < 0.03


@pytest.mark.parametrize("num_ops", [-1, 1.5, "2", None, True])
def test_number_of_operations_is_checked(num_ops):
    with pytest.raises(ValueError, match="`num_ops` must be an integer, 0 or more. Received: num_ops="):
        RandAugment(num_ops=num_ops)


def test_interpolation_is_checked():
    with pytest.raises(ValueError, match=r"`interpolation` must be one of .*Received: interpolation=cubic"):
        RandAugment(interpolation="cubic")
