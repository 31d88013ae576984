"""RandomColorJitter: its pixels against PIL and the definition in every order of the operations, and what it draws."""

import colorsys
import itertools
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from keras_consistency.augment import image

SEED = tf.constant([5, 6], tf.int64)
MANY = np.zeros([24_000, 2, 2, 3], "uint8")
ORDERS = list(itertools.permutations(range(4)))
AMOUNTS = [0.7, 1.3, 0.6, 0.11]
NEUTRAL = [1.0, 1.0, 1.0, 0.0]


def pictures(count, channels=3):
    """Brightness and colour vary slowly."""
    y, x = np.meshgrid(range(9), range(14), indexing="ij")
    waves = np.stack([np.sin(x / 5), np.cos(y / 4), np.sin((x + y) / 6)], axis=2)[..., :channels]
    return np.stack([(125 + 100 * waves).round().astype("uint8")] * count)


def turned(levels, turn):
    def of_pixel(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        return 255 * np.array(colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value))

    return np.apply_along_axis(of_pixel, 2, levels)


def pil(pixels, amounts, order):
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    for number in order:
        if number < 3:
            enhancement = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[number]
            picture = enhancement(picture).enhance(amounts[number])
        elif picture.mode == "RGB":
            picture = Image.fromarray(turned(np.asarray(picture).astype(float), amounts[3]).round().astype("uint8"))
    return np.asarray(picture).reshape(pixels.shape)


def defined(levels, amounts, order):
    """The same without rounding."""

    def luma(levels):
        return levels @ np.array([[0.299], [0.587], [0.114]])

    def blend(base, levels, factor):
        return np.clip(base + factor * (levels - base), 0, 255)

    operations = (
        lambda levels, factor: blend(0.0, levels, factor),
        lambda levels, factor: blend(luma(levels).mean(), levels, factor),
        lambda levels, factor: blend(luma(levels), levels, factor),
        turned,
    )
    for number in order:
        levels = operations[number](levels, amounts[number])
    return levels


def transformation(amounts, orders):
    return {
        "amounts": tf.constant([amounts] * len(orders), tf.float32),
        "order": tf.constant(orders, tf.int32),
    }


@pytest.mark.parametrize(
    ("amounts", "channels", "slack", "kinds"),
    [([0.7, 1.3, 0.6, 0.0], 3, 0, 6), (AMOUNTS, 1, 0, 2), (AMOUNTS, 3, 2, 12)],
)
def test_bytes_are_pils_in_every_order(amounts, channels, slack, kinds):
    images = pictures(24, channels)
    views = image.RandomColorJitter().transform_images(tf.constant(images), transformation(amounts, ORDERS)).numpy()
    for view, pixels, order in zip(views, images, ORDERS, strict=True):
        assert np.abs(view.astype(int) - pil(pixels, amounts, order)).max() <= slack, order
    assert len({view.tobytes() for view in views}) >= kinds, "the order makes no difference"


def test_floats_are_the_definition_unrounded():
    levels = pictures(24) * 0.951
    layer = image.RandomColorJitter(value_range=(-1, 1))
    views = layer.transform_images(tf.constant(levels / 127.5 - 1, tf.float32), transformation(AMOUNTS, ORDERS))
    for view, pixels, order in zip((views.numpy() + 1) * 127.5, levels, ORDERS, strict=True):
        np.testing.assert_allclose(view, defined(pixels, AMOUNTS, order), atol=0.05, err_msg=str(order))


def test_image_of_neutral_amounts_is_returned_to_the_bit_beside_others():
    images = tf.constant(pictures(24) * 0.951, tf.float32)
    amounts = np.array([AMOUNTS] * 24, "float32")
    amounts[:20] = NEUTRAL
    views = image.RandomColorJitter().transform_images(images, transformation(AMOUNTS, ORDERS) | {"amounts": amounts})
    np.testing.assert_array_equal(views[:20], images[:20])
    assert np.all(np.any(views[20:] != images[20:], axis=(1, 2, 3)))


class TestDraws:
    @staticmethod
    def draws(**arguments):
        return tf.nest.map_structure(
            lambda drawn: drawn.numpy(), image.RandomColorJitter(**arguments).get_random_transformation(SEED, MANY)
        )

    def test_every_order_is_equally_likely(self):
        orders, counts = np.unique(self.draws()["order"], axis=0, return_counts=True)
        np.testing.assert_array_equal(orders, ORDERS)
        np.testing.assert_allclose(counts / len(MANY), 1 / 24, atol=0.006)

    def test_amounts_are_uniform_and_independent(self):
        drawn = self.draws(brightness_factor=0.1, contrast_factor=0.2, saturation_factor=1.0, hue_factor=0.5)
        amounts = drawn["amounts"]
        for one, neutral, reach in zip(amounts.T, NEUTRAL, (0.1, 0.2, 1.0, 0.25), strict=True):
            shares = np.histogram(one, 8, (neutral - reach, neutral + reach))[0] / len(MANY)
            np.testing.assert_allclose(shares, 1 / 8, atol=0.01)
        assert np.abs(np.corrcoef(amounts.T) - np.eye(4)).max() < 0.03

    def test_images_are_left_alone_by_the_probability(self):
        applied = np.any(self.draws(probability=0.8)["amounts"] != np.array(NEUTRAL, "float32"), axis=1)
        assert applied.mean() == pytest.approx(0.8, abs=0.01)


def test_orders_share_one_program():
    """XLA compiles anew for what it takes for a constant, and would for every batch: seconds, and not milliseconds."""
    layer, images = image.RandomColorJitter(), tf.constant(pictures(5))
    seconds = []
    for number in range(5):
        start = time.perf_counter()
        layer(images, seed=SEED + number)
        seconds.append(time.perf_counter() - start)
    assert min(seconds[1:]) < seconds[0] / 4
