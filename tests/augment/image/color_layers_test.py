"""The layers of one colour operation: their pixels against PIL, SciPy and the definition, and what they draw."""

import colorsys
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from keras_consistency.augment import image

SEED = tf.constant([5, 6], tf.int64)
MANY = np.zeros([20_000, 2, 2, 3], "uint8")
SHAPES = [(17, 23, 3), (19, 16, 1), (1, 1, 3), (2, 3, 1)]


def smooth_pixels(shape):
    """Levels from 20 to 230, float64: low frequencies and noise, so that histograms are uneven and channels differ."""
    rng = np.random.default_rng(shape[0])
    y, x = np.meshgrid(range(shape[0]), range(shape[1]), indexing="ij")
    phase = rng.uniform(0, 6, (2, shape[2]))
    waves = np.sin(x[..., None] / 5 + phase[0]) + np.cos(y[..., None] / 4 + phase[1]) + rng.normal(0, 0.3, shape)
    return 20 + 210 * (waves - waves.min()) / max(np.ptp(waves), 1e-9)


def pil(operation):
    """An operation of PIL on uint8 arrays of one or three channels."""

    def run(pixels, amount):
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        return np.asarray(operation(picture, amount)).reshape(pixels.shape)

    return run


def enhance(enhancement):
    return pil(lambda picture, factor: enhancement(picture).enhance(factor))


def luma(levels):
    return levels if levels.shape[2] == 1 else levels @ np.array([[0.299], [0.587], [0.114]])


def contrast(levels, factor):
    mean = luma(levels).mean()
    return mean + factor * (levels - mean)


def saturation(levels, factor):
    return luma(levels) + factor * (levels - luma(levels))


def sharpness(levels, factor):
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]])[..., None] / 13
    sharp = levels.copy()
    smooth = ndimage.convolve(levels, kernel)
    inner = np.s_[1:-1, 1:-1]
    sharp[inner] = smooth[inner] + factor * (levels[inner] - smooth[inner])
    return sharp


def hue(levels, turn):
    if levels.shape[2] == 1:
        return levels

    def turned(pixel):
        of_hue, of_saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        return 255 * np.array(colorsys.hsv_to_rgb((of_hue + turn) % 1.0, of_saturation, value))

    return np.apply_along_axis(turned, 2, levels)


def blur(levels, sigma):
    return ndimage.gaussian_filter(levels, (sigma, sigma, 0), mode="nearest", radius=(3, 3, 0))


def autocontrast(levels, amount):
    low, high = levels.min(axis=(0, 1)), levels.max(axis=(0, 1))
    return np.where(high > low, (levels - low) * 255 / np.where(high > low, high - low, 1), levels)


def equalized(levels, amount):
    """PIL's table of the nearest bytes; a channel that PIL leaves alone keeps its fractions."""
    whole = levels.round().astype("uint8")
    spread = pil(lambda picture, _: ImageOps.equalize(picture))(whole, amount)
    alone = (spread == whole).all(axis=(0, 1))
    return np.where(alone, levels, spread)


@dataclasses.dataclass
class Row:
    """A layer, amounts, what PIL makes of bytes (`None`: the rounded levels), what the definition makes of levels."""

    layer: Callable
    amounts: tuple
    of_bytes: Callable | None
    of_levels: Callable
    slack: int = 0  # levels by which bytes may differ


ROWS = {
    "brightness": Row(
        image.RandomBrightness, (0.0, 0.5, 1.3, 2.0), enhance(ImageEnhance.Brightness), lambda levels, f: f * levels
    ),
    "contrast": Row(image.RandomContrast, (0.0, 0.5, 1.3, 2.0), enhance(ImageEnhance.Contrast), contrast),
    "saturation": Row(image.RandomSaturation, (0.0, 0.5, 1.3, 2.0), enhance(ImageEnhance.Color), saturation),
    "sharpness": Row(image.RandomSharpness, (0.0, 0.5, 1.3, 2.0), enhance(ImageEnhance.Sharpness), sharpness),
    "grayscale": Row(
        image.RandomGrayscale,
        (0.0, 0.0, 0.0, 0.0),
        pil(lambda picture, _: picture.convert("L").convert(picture.mode)),
        lambda levels, _: luma(levels) + 0 * levels,
    ),
    "hue": Row(image.RandomHue, (-0.5, -0.2, 0.07, 0.4), None, hue, slack=1),
    "solarization": Row(
        image.Solarization,
        (1.0, 64.0, 130.0, 160.0),
        pil(lambda picture, threshold: ImageOps.solarize(picture, int(threshold))),
        lambda levels, threshold: np.where(levels < threshold, levels, 255 - levels),
    ),
    "posterization": Row(
        image.RandomPosterization,
        (1.0, 3.0, 5.0, 7.0),
        pil(lambda picture, bits: ImageOps.posterize(picture, int(bits))),
        lambda levels, bits: np.floor(levels.round() / 2 ** (8 - bits)) * 2 ** (8 - bits),
    ),
    "invert": Row(
        image.RandomInvert, (1.0,) * 4, pil(lambda picture, _: ImageOps.invert(picture)), lambda levels, _: 255 - levels
    ),
    # PIL truncates a float product that may fall just short of a whole number.
    "auto_contrast": Row(
        image.AutoContrast, (1.0,) * 4, pil(lambda picture, _: ImageOps.autocontrast(picture)), autocontrast, slack=1
    ),
    "equalization": Row(image.Equalization, (1.0,) * 4, pil(lambda picture, _: ImageOps.equalize(picture)), equalized),
    "blur": Row(image.RandomGaussianBlur, (0.2, 0.5, 0.8, 1.0), None, blur, slack=1),
}
rows = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


@rows
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bytes_are_pils(row, shape):
    pixels = smooth_pixels(shape).round().astype("uint8")
    views = row.layer().transform_images(tf.constant(np.stack([pixels] * 4)), tf.constant(row.amounts)).numpy()
    for view, amount in zip(views, row.amounts, strict=True):
        if row.of_bytes:
            expected = row.of_bytes(pixels, amount)
        else:
            expected = row.of_levels(pixels.astype(float), amount).round()
        assert np.abs(view.astype(int) - expected).max() <= row.slack, amount


@rows
@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_floats_are_the_definition_unrounded(row, shape):
    levels = smooth_pixels(shape)
    layer = row.layer(value_range=(-1, 1))
    images = tf.constant(np.stack([levels] * 4) / 127.5 - 1, tf.float32)
    views = (layer.transform_images(images, tf.constant(row.amounts)).numpy() + 1) * 127.5
    for view, amount in zip(views, row.amounts, strict=True):
        np.testing.assert_allclose(view, np.clip(row.of_levels(levels, amount), 0, 255), atol=0.03)


@rows
def test_image_of_the_neutral_amount_is_returned_to_the_bit_beside_others(row):
    images = tf.constant(np.stack([smooth_pixels(SHAPES[0]) * 0.713] * 4), tf.float32)
    amounts = np.array(row.amounts, "float32")
    amounts[[0, 2]] = row.layer.neutral
    views = row.layer().transform_images(images, tf.constant(amounts))
    np.testing.assert_array_equal(views[::2], images[::2])
    assert np.any(views[1] != images[1]) and np.any(views[3] != images[3])


@rows
def test_size_may_be_unknown(row):
    layer, images = row.layer(), tf.constant(np.stack([smooth_pixels(SHAPES[0]).round().astype("uint8")] * 4))
    run = tf.function(layer.transform_images)
    signature = tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec([None], tf.float32)
    views = run.get_concrete_function(*signature)(images, tf.constant(row.amounts)).numpy().astype(int)
    np.testing.assert_allclose(views, layer.transform_images(images, tf.constant(row.amounts)), atol=1)


def test_gradient_flows_through_a_float_image():
    images, factors = tf.constant(np.full([2, 3, 3, 1], 100.0, "float32")), tf.constant([0.5, 1.0])
    layer = image.RandomBrightness()
    with tf.GradientTape() as tape:
        tape.watch(images)
        views = layer.transform_images(images, factors)
    np.testing.assert_allclose(tape.gradient(views, images)[:, 0, 0, 0], factors, atol=1e-6)


class TestDraws:
    @staticmethod
    def draws(layer):
        return layer.get_random_transformation(SEED, MANY).numpy()

    @pytest.mark.parametrize(
        ("layer", "low", "high"),
        [
            (image.RandomBrightness(factor=0.3), 0.7, 1.3),
            (image.RandomContrast(factor=1.0), 0.0, 2.0),
            (image.RandomSaturation(factor=0.2), 0.8, 1.2),
            (image.RandomSharpness(factor=0.5), 0.5, 1.5),
            (image.RandomHue(factor=0.4), -0.2, 0.2),
            (image.Solarization(factor=0.25), 192.0, 256.0),
            (image.RandomGaussianBlur(sigma=3.0), 0.0, 3.0),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_amounts_are_uniform(self, layer, low, high):
        amounts = self.draws(layer)
        assert amounts.shape == (len(MANY),) and low <= amounts.min() and amounts.max() <= high
        np.testing.assert_allclose(np.histogram(amounts, 8, (low, high))[0] / len(MANY), 1 / 8, atol=0.01)

    @pytest.mark.parametrize(("factor", "fewest"), [(0.0, 8), (0.1, 7), (0.5, 4), (1.0, 1)])
    def test_numbers_of_bits_are_equally_likely(self, factor, fewest):
        bits, counts = np.unique(self.draws(image.RandomPosterization(factor=factor)), return_counts=True)
        np.testing.assert_array_equal(bits, np.arange(fewest, 9))
        np.testing.assert_allclose(counts / len(MANY), 1 / len(bits), atol=0.015)

    @rows
    def test_images_are_left_alone_by_the_probability(self, row):
        applied = self.draws(row.layer(probability=0.3)) != row.layer.neutral
        # A number of bits may be drawn to be all eight.
        share = 0.3 * (4 / 5 if row.layer is image.RandomPosterization else 1)
        assert applied.mean() == pytest.approx(share, abs=0.015)
        assert not (self.draws(row.layer(probability=0.0)) != row.layer.neutral).any()

    def test_neighbours_draw_independently(self):
        amounts = self.draws(image.RandomBrightness())
        assert abs(np.corrcoef(amounts[1:], amounts[:-1])[0, 1]) < 0.03


@pytest.mark.parametrize("sigma", [-0.1, float("inf"), float("nan"), "1", None])
def test_sigma_is_checked(sigma):
    with pytest.raises(ValueError, match=r"`sigma` must be a number in \[0, inf\). Received: sigma="):
        image.RandomGaussianBlur(sigma=sigma)


def test_sigma_may_be_large():
    pixels = smooth_pixels(SHAPES[0])
    views = image.RandomGaussianBlur(sigma=6.5).transform_images(tf.constant(pixels[None]), tf.constant([6.0]))
    expected = ndimage.gaussian_filter(pixels, (6, 6, 0), mode="nearest", radius=(20, 20, 0))
    np.testing.assert_allclose(views[0], expected, atol=0.03)
