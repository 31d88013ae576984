"""Every colour operation against PIL, SciPy or the definition."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy import ndimage

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


def apply(image, operation, amount=0.0):
    return color.recolor(tf.constant(image), tf.constant(amount), 0.0, 255.0, operation)


@pytest.mark.parametrize("factor", (*FACTORS, 1.3, 1.95))
def test_brighten_is_pils(image, factor):
    assert_levels(
        apply(image, color.brighten, factor), ImageEnhance.Brightness(to_pil(image)).enhance(factor), levels=0
    )


@pytest.mark.parametrize("factor", (*FACTORS, 1.3, 1.95))
def test_contrast_is_pils(image, factor):
    assert_levels(apply(image, color.contrast, factor), ImageEnhance.Contrast(to_pil(image)).enhance(factor), levels=0)


@pytest.mark.parametrize("factor", (*FACTORS, 1.3, 1.95))
def test_saturate_is_pils(image, factor):
    assert_levels(apply(image, color.saturate, factor), ImageEnhance.Color(to_pil(image)).enhance(factor), levels=0)


@pytest.mark.parametrize("factor", (*FACTORS, 1.3, 1.95))
def test_sharpen_is_pils(image, factor):
    assert_levels(apply(image, color.sharpen, factor), ImageEnhance.Sharpness(to_pil(image)).enhance(factor), levels=0)


@pytest.mark.parametrize("share", FACTORS)
def test_soften_is_pils(image, share):
    pil = to_pil(image)
    blurred = Image.blend(pil, pil.filter(ImageFilter.BLUR), share)
    assert_levels(apply(image, color.soften, share), blurred, levels=0)


@pytest.mark.parametrize("threshold", [0, 1, 77, 128, 255, 256])
def test_solarize_is_pils(image, threshold):
    assert_levels(apply(image, color.solarize, float(threshold)), ImageOps.solarize(to_pil(image), threshold), levels=0)


@pytest.mark.parametrize("bits", [1, 4, 5, 6, 7, 8])
def test_posterize_is_pils(image, bits):
    assert_levels(apply(image, color.posterize, float(bits)), ImageOps.posterize(to_pil(image), bits), levels=0)


def test_invert_is_pils(image):
    assert_levels(apply(image, color.invert), ImageOps.invert(to_pil(image)), levels=0)


def test_autocontrast_is_pils_up_to_the_rounding_of_its_floats(image):
    # PIL truncates a float product that may fall just short of a whole number.
    assert_levels(apply(image, color.autocontrast), ImageOps.autocontrast(to_pil(image)), levels=1)


def test_equalize_is_pils(image):
    assert_levels(apply(image, color.equalize), ImageOps.equalize(to_pil(image)), levels=0)


@pytest.mark.parametrize("turn", [0.0, 0.1, 0.5, -0.3])
def test_rotate_hue_is_the_definition(image, turn):
    if image.shape[2] == 1:
        np.testing.assert_array_equal(apply(image, color.rotate_hue, turn), image)
        return
    expected = np.empty(image.shape)
    for index in np.ndindex(image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[index] / 255))
        expected[index] = 255 * np.array(colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value))
    ours = np.asarray(apply(image, color.rotate_hue, turn), float)
    np.testing.assert_allclose(ours, expected, atol=0.501)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_blur_is_scipys(image, sigma):
    blurred = color.blur(tf.constant(image, tf.float32), tf.constant(sigma), False, 4)
    expected = ndimage.gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="nearest", radius=(4, 4, 0))
    np.testing.assert_allclose(blurred, expected, atol=1e-3)
    whole = color.blur(tf.constant(image, tf.float32), tf.constant(sigma), True, 4)
    np.testing.assert_array_equal(whole, np.round(blurred))


OPERATIONS = {
    "brighten": (color.brighten, 0.6),
    "contrast": (color.contrast, 1.4),
    "saturate": (color.saturate, 0.3),
    "sharpen": (color.sharpen, 1.6),
    "soften": (color.soften, 0.6),
    "solarize": (color.solarize, 150.0),
    "autocontrast": (color.autocontrast, 0.0),
    "invert": (color.invert, 0.0),
    "rotate_hue": (color.rotate_hue, 0.2),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0)])
def test_float_images_are_not_rounded(name, bounds):
    """A float image of bytes is within a level of the bytes' result, and of more precision."""
    operation, amount = OPERATIONS[name]
    image, (low, high) = IMAGES["rgb_narrow_range"], bounds
    scaled = tf.constant(low + image / 255 * (high - low), tf.float32)
    ours = color.recolor(scaled, tf.constant(amount), low, high, operation)
    levels = (ours.numpy() - low) / (high - low) * 255
    assert np.mean(np.abs(levels - apply(image, operation, amount).numpy().astype(float)) > 2.05) <= 0.001
    if name not in ("solarize", "invert"):
        assert np.mean(np.abs(levels - np.round(levels)) > 0.01) > 0.2
