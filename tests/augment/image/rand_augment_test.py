"""RandAugment's operations against PIL, and what it draws."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from keras_consistency.augment.image import RandAugment

OPERATIONS = list(RandAugment.OPERATIONS)
GREY = 127
SEED = tf.constant([5, 6], tf.int64)
STRENGTHS = (0.2, 0.5, 0.77, 1.0)
# Chi-square at 0.1 % for 13 degrees of freedom.
CHI_SQUARE_13 = 34.53


def picture(height=19, width=26, channels=3):
    rng = np.random.default_rng(1)
    y, x = np.meshgrid(np.linspace(0, 4, height), np.linspace(0, 5, width), indexing="ij")
    waves = np.stack([np.sin(x + k) * np.cos(y - k) for k in range(channels)], -1)
    return np.clip(110 + 90 * waves + rng.normal(0, 8, waves.shape), 0, 255).astype("uint8")


def to_pil(image):
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def affine(pil, *coefficients):
    fill = GREY if pil.mode == "L" else (GREY,) * 3
    return pil.transform(pil.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=fill)


PIL_OPERATIONS = {
    "identity": lambda pil, s, sign: pil,
    "autocontrast": lambda pil, s, sign: ImageOps.autocontrast(pil),
    "equalize": lambda pil, s, sign: ImageOps.equalize(pil),
    "rotate": lambda pil, s, sign: pil.rotate(
        sign * 30 * s, Image.Resampling.BILINEAR, fillcolor=GREY if pil.mode == "L" else (GREY,) * 3
    ),
    "solarize": lambda pil, s, sign: ImageOps.solarize(pil, 256 - int(256 * s)),
    "color": lambda pil, s, sign: ImageEnhance.Color(pil).enhance(1 - 0.95 * s),
    "posterize": lambda pil, s, sign: ImageOps.posterize(pil, 8 - round(4 * s)),
    "contrast": lambda pil, s, sign: ImageEnhance.Contrast(pil).enhance(1 - 0.95 * s),
    "brightness": lambda pil, s, sign: ImageEnhance.Brightness(pil).enhance(1 - 0.95 * s),
    "sharpness": lambda pil, s, sign: ImageEnhance.Sharpness(pil).enhance(1 - 0.95 * s),
    "shear_x": lambda pil, s, sign: affine(pil, 1, sign * 0.3 * s, 0, 0, 1, 0),
    "shear_y": lambda pil, s, sign: affine(pil, 1, 0, 0, sign * 0.3 * s, 1, 0),
    "translate_x": lambda pil, s, sign: affine(pil, 1, 0, sign * 0.3 * s * pil.width, 0, 1, 0),
    "translate_y": lambda pil, s, sign: affine(pil, 1, 0, 0, 0, 1, sign * 0.3 * s * pil.height),
}


def chosen(*slots, count=1):
    """A transformation that does the same to each of `count` images: slots of (name, strength, sign)."""
    names, strengths, signs = zip(*slots, strict=True)

    def repeat(values, dtype):
        return tf.constant([values] * count, dtype)

    return {
        "operations": repeat([OPERATIONS.index(name) for name in names], tf.int32),
        "strengths": repeat(strengths, tf.float32),
        "signs": repeat(signs, tf.float32),
    }


def far_off(ours, pil):
    """Share of the values that lie more than one level from PIL's."""
    expected = np.asarray(pil).astype(int).reshape(ours.shape)
    return np.mean(np.abs(np.asarray(ours).astype(float) - expected) > 1.0 + 1e-3)


def test_operations_are_the_papers_fourteen():
    assert len(OPERATIONS) == 14 and set(OPERATIONS) == set(PIL_OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operation_is_pils_within_one_level(name, channels):
    image = picture(channels=channels)
    layer, units = RandAugment(), RandAugment(value_range=(0, 1))
    for strength in STRENGTHS:
        for sign in (-1.0, 1.0):
            transformation = chosen((name, strength, sign))
            expected = PIL_OPERATIONS[name](to_pil(image), strength, sign)
            ours = layer.transform_images(tf.constant(image[None]), transformation)[0]
            # Pixels on the edge of a warp: PIL steps through a row in fixed point.
            assert far_off(ours, expected) <= 0.01
            floats = units.transform_images(tf.constant(image[None] / 255, tf.float32), transformation)[0] * 255
            np.testing.assert_allclose(floats, tf.cast(ours, tf.float32), atol=1e-3)
            if name not in ("identity", "color", "posterize") and channels == 3:
                assert np.any(np.asarray(ours) != image)


@pytest.mark.parametrize("name", OPERATIONS)
def test_strength_zero_is_the_identity_to_the_bit(name):
    images = tf.random.stateless_uniform([2, 9, 11, 3], SEED, maxval=255.0)
    ours = RandAugment().transform_images(images, chosen((name, 0.0, 1.0), (name, 0.0, -1.0), count=2))
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
        pil = PIL_OPERATIONS[name](pil, 0.6, 1.0)
    ours = RandAugment().transform_images(tf.constant(image[None]), chosen(*((name, 0.6, 1.0) for name in names)))[0]
    assert far_off(ours, pil) == 0


def test_geometric_operations_become_one_warp_after_the_colours():
    image = picture(31, 31)
    slots = [("shear_x", 0.5, 1.0), ("brightness", 0.4, 1.0), ("translate_y", 0.5, -1.0)]
    ours = RandAugment().transform_images(tf.constant(image[None]), chosen(*slots))[0]
    # Output (x, y) shows (x, y - 4.65) of the sheared image, which shows (x + 0.15 (y - 4.65), y - 4.65) of the image.
    expected = affine(PIL_OPERATIONS["brightness"](to_pil(image), 0.4, 1.0), 1, 0.15, -0.6975, 0, 1, -4.65)
    assert far_off(ours, expected) <= 0.01
    assert np.all(ours[0] == GREY)


def test_each_image_gets_its_own_operations():
    image = picture()
    slots = [chosen((name, 0.5, 1.0)) for name in OPERATIONS]
    transformation = {key: tf.concat([slot[key] for slot in slots], axis=0) for key in slots[0]}
    ours = RandAugment().transform_images(tf.constant(np.stack([image] * len(OPERATIONS))), transformation)
    for view, name in zip(ours, OPERATIONS, strict=True):
        assert far_off(view, PIL_OPERATIONS[name](to_pil(image), 0.5, 1.0)) <= 0.01


def test_fill_and_interpolation_are_used():
    image = picture()
    transformation = chosen(("translate_x", 0.5, 1.0))
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
