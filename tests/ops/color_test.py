"""Every colour operation against PIL, at 8 bits."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from keras_consistency.ops import color

FACTORS = (0.0, 0.05, 0.37, 0.5, 0.81, 1.0)


def smooth_image(shape, seed, low=0, high=256):
    """Low frequencies and noise, so that histograms are uneven and channels differ."""
    rng = np.random.default_rng(seed)
    height, width, channels = shape
    y, x = np.meshgrid(range(height), range(width), indexing="ij")
    phase = rng.uniform(0, 6, (3, channels))
    waves = np.sin(x[..., None] / 7 + phase[0]) + np.cos(y[..., None] / 5 + phase[1]) + rng.normal(0, 0.3, shape)
    waves = (waves - waves.min()) / np.ptp(waves)
    return (low + waves * (high - 1 - low)).round().astype("uint8")


IMAGES = {
    "rgb_odd": smooth_image((17, 23, 3), 0),
    "rgb_narrow_range": smooth_image((32, 32, 3), 1, 60, 180),
    "grey_odd": smooth_image((33, 19, 1), 2),
    "grey_large": smooth_image((64, 48, 1), 3, 10, 90),
    "flat": np.full((16, 16, 3), 77, "uint8"),
    "two_values": np.where(np.arange(400).reshape(20, 20, 1) % 7 < 2, 200, 30).astype("uint8"),
    "black": np.zeros((12, 12, 1), "uint8"),
    "one_pixel": np.array([[[3, 200, 90]]], "uint8"),
    "two_rows": smooth_image((2, 9, 3), 4),
}


@pytest.fixture(params=IMAGES)
def image(request):
    return IMAGES[request.param]


def to_pil(image):
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def from_pil(image):
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def assert_levels(ours, pil, *, levels):
    difference = np.abs(np.asarray(ours).astype(int) - from_pil(pil).astype(int))
    assert difference.max() <= levels
    return difference


def through_table(image, edit):
    images = tf.constant(image[None])
    return color.look_up(images, edit(color.identity_table(images), images))[0]


def test_identity_table_changes_nothing(image):
    np.testing.assert_array_equal(through_table(image, lambda table, images: table), image)


@pytest.mark.parametrize("factor", FACTORS)
def test_brighten_is_pils(image, factor):
    ours = through_table(image, lambda table, images: color.brighten(table, tf.constant([factor])))
    assert_levels(ours, ImageEnhance.Brightness(to_pil(image)).enhance(factor), levels=0)


@pytest.mark.parametrize("factor", FACTORS)
def test_contrast_is_pils(image, factor):
    ours = through_table(
        image, lambda table, images: color.contrast(table, color.mean_grey(images), tf.constant([factor]))
    )
    assert_levels(ours, ImageEnhance.Contrast(to_pil(image)).enhance(factor), levels=0)


@pytest.mark.parametrize("threshold", [0, 1, 77, 128, 255, 256])
def test_solarize_is_pils(image, threshold):
    ours = through_table(image, lambda table, images: color.solarize(table, tf.constant([threshold])))
    assert_levels(ours, ImageOps.solarize(to_pil(image), threshold), levels=0)


@pytest.mark.parametrize("bits", [1, 4, 5, 6, 7, 8])
def test_posterize_is_pils(image, bits):
    ours = through_table(image, lambda table, images: color.posterize(table, tf.constant([bits])))
    assert_levels(ours, ImageOps.posterize(to_pil(image), bits), levels=0)


def test_autocontrast_is_pils_up_to_the_rounding_of_its_floats(image):
    ours = through_table(image, lambda table, images: color.autocontrast(table, *color.value_bounds(images)))
    # PIL truncates a float product that may fall just short of a whole number.
    assert_levels(ours, ImageOps.autocontrast(to_pil(image)), levels=1)


def test_equalize_is_pils(image):
    ours = through_table(image, lambda table, images: color.equalize(table, color.histogram(images)))
    assert_levels(ours, ImageOps.equalize(to_pil(image)), levels=0)


@pytest.mark.parametrize("factor", FACTORS)
def test_saturate_is_pils(image, factor):
    ours = color.saturate(tf.constant(image[None]), tf.constant([factor]))[0]
    assert_levels(ours, ImageEnhance.Color(to_pil(image)).enhance(factor), levels=0)


@pytest.mark.parametrize("factor", FACTORS)
def test_sharpen_is_pils(image, factor):
    ours = color.sharpen(tf.constant(image[None]), tf.constant([factor]))[0]
    assert_levels(ours, ImageEnhance.Sharpness(to_pil(image)).enhance(factor), levels=0)


def test_tables_compose_in_the_order_applied(image):
    images = tf.constant(image[None])
    table = color.solarize(color.identity_table(images), tf.constant([100]))
    solarized = color.look_up(images, table)
    table = color.equalize(table, color.histogram(solarized))
    table = color.brighten(table, tf.constant([0.6]))
    pil = ImageEnhance.Brightness(ImageOps.equalize(ImageOps.solarize(to_pil(image), 100))).enhance(0.6)
    assert_levels(color.look_up(images, table)[0], pil, levels=0)


def test_each_image_has_its_own_parameters():
    images = np.stack([IMAGES["rgb_narrow_range"], smooth_image((32, 32, 3), 9)])
    table = color.equalize(color.identity_table(tf.constant(images)), color.histogram(tf.constant(images)))
    table = color.brighten(table, tf.constant([1.0, 0.5]))
    ours = color.look_up(tf.constant(images), table)
    assert_levels(ours[0], ImageOps.equalize(to_pil(images[0])), levels=0)
    assert_levels(ours[1], ImageEnhance.Brightness(ImageOps.equalize(to_pil(images[1]))).enhance(0.5), levels=0)
