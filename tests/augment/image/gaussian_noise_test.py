"""GaussianNoise: the distribution of what it adds, and where it is clipped and rounded."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_consistency.augment import image

SEED = tf.constant([5, 6], tf.int64)


@pytest.mark.parametrize(("value_range", "stddev"), [((0, 255), 0.05), ((-1, 1), 0.1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_float_images_get_normal_noise(value_range, stddev, channels):
    low, high = value_range
    grey = np.full([20, 33, 37, channels], (low + high) / 2, "float32")
    noise = image.GaussianNoise(stddev=stddev, value_range=value_range)(grey, seed=SEED).numpy() - grey
    noise = noise.astype(float) / (stddev * (high - low))
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.01
    assert abs(np.mean(noise)) < 0.02 and np.std(noise) == pytest.approx(1.0, abs=0.01)


def test_pixels_channels_and_images_draw_independently():
    grey = np.full([40, 16, 16, 3], 127.5, "float32")
    noise = image.GaussianNoise()(grey, seed=SEED).numpy() - grey
    limit = 4 / np.sqrt(noise.size / 3)
    for one, other in (
        (noise[1:], noise[:-1]),
        (noise[:, 1:], noise[:, :-1]),
        (noise[:, :, 1:], noise[:, :, :-1]),
        (noise[..., 1:], noise[..., :-1]),
    ):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < limit


def test_bytes_are_rounded_to_the_nearest():
    grey = np.full([20, 32, 32, 3], 100, "uint8")
    layer = image.GaussianNoise(stddev=0.02)
    views = layer(grey, seed=SEED).numpy()
    np.testing.assert_array_equal(views, np.round(layer(grey.astype("float32"), seed=SEED)))
    assert views.mean() == pytest.approx(100, abs=0.1) and views.std() == pytest.approx(5.1, abs=0.1)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_values_are_clipped_to_the_range(dtype):
    for level in (0, 255):
        views = image.GaussianNoise(stddev=0.3)(tf.cast(tf.fill([9, 16, 16, 1], level), dtype), seed=SEED).numpy()
        assert views.min() >= 0 and views.max() <= 255
        assert np.mean(views == level) == pytest.approx(0.5, abs=0.05)


def test_one_pixel():
    views = image.GaussianNoise(stddev=0.1)(np.full([500, 1, 1, 3], 0.5, "float32"), seed=SEED)
    assert len(np.unique(views)) > 400


def test_an_image_draws_the_same_wherever_it_stands_in_the_seeds():
    layer = image.GaussianNoise()
    images = tf.constant(np.full([4, 8, 8, 3], 100, "uint8"))
    seeds = layer.get_random_transformation(SEED, images)
    views = layer.transform_images(images, seeds)
    np.testing.assert_array_equal(layer.transform_images(images, seeds[::-1])[::-1], views)
