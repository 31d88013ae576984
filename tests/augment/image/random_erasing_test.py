"""RandomErasing: what it does to pixels, and what it draws."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_consistency.augment import image

SEED = tf.constant([5, 6], tf.int64)


def pictures(count, channels=3, height=9, width=13):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels)).astype("uint8")


def erase(images, rectangles, **arguments):
    layer = image.RandomErasing(**arguments)
    seeds = layer.get_random_transformation(SEED, images)["seeds"]
    return layer.transform_images(tf.constant(images), {"rectangles": tf.constant(rectangles), "seeds": seeds}).numpy()


class TestPixels:
    RECTANGLES = np.array([[2, 3, 4, 5], [0, 0, 9, 13], [8, 12, 1, 1], [3, 0, 2, 13], [4, 4, 0, 0]], "int32")

    @staticmethod
    def inside(shape, rectangle):
        top, left, height, width = rectangle
        inside = np.zeros(shape, bool)
        inside[top : top + height, left : left + width] = True
        return inside

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("dtype", ["uint8", "float32"])
    def test_constant_fills_the_rectangle_and_nothing_else(self, dtype, channels):
        images = pictures(5, channels).astype(dtype)
        views = erase(images, self.RECTANGLES, fill=0.2)
        assert views.dtype == images.dtype
        for view, pixels, rectangle in zip(views, images, self.RECTANGLES, strict=True):
            np.testing.assert_array_equal(view, np.where(self.inside(pixels.shape, rectangle), 51, pixels))

    def test_noise_fills_the_rectangle_and_nothing_else(self):
        images = pictures(5)
        views = erase(images, self.RECTANGLES)
        for view, pixels, rectangle in zip(views, images, self.RECTANGLES, strict=True):
            inside = self.inside(pixels.shape, rectangle)
            np.testing.assert_array_equal(view[~inside], pixels[~inside])
            assert np.sum(view[inside] == pixels[inside]) <= 0.1 * inside.sum()

    def test_noise_is_uniform_over_the_bytes(self):
        images = np.zeros([30, 20, 41, 3], "uint8")
        counts = np.bincount(erase(images, [[0, 0, 20, 41]] * 30).ravel(), minlength=256)
        assert stats.chisquare(counts).pvalue > 0.01

    def test_noise_is_uniform_over_the_range_and_independent(self):
        images = np.zeros([30, 20, 41, 3], "float32")
        noise = erase(images, [[0, 0, 20, 41]] * 30, value_range=(-1, 1))
        assert stats.kstest(noise.ravel(), stats.uniform(-1, 2).cdf).pvalue > 0.01
        for axis in range(4):
            one, other = (noise.take(range(start, noise.shape[axis] - 1 + start), axis) for start in (0, 1))
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02

    def test_one_pixel(self):
        images = np.full([40, 1, 1, 3], 7, "uint8")
        erased = np.any(
            image.RandomErasing(probability=0.5, area=(1.0, 1.0), fill=0.0)(images, seed=SEED) == 0, axis=-1
        )
        assert 5 < erased.sum() < 35


class TestDraws:
    @staticmethod
    def sides(layer, height=80, width=60, count=4000):
        rectangles = layer.get_random_transformation(SEED, np.zeros([count, height, width, 1], "uint8"))["rectangles"]
        top, left, *sides = rectangles.numpy().T
        assert top.min() >= 0 and left.min() >= 0
        assert np.all(top + sides[0] <= height) and np.all(left + sides[1] <= width)
        return top, left, *sides

    def test_areas_are_uniform(self):
        *_, height, width = self.sides(image.RandomErasing(probability=1.0, area=(0.1, 0.4)))
        areas = height * width / (80 * 60)
        assert areas.min() > 0.09 and areas.max() < 0.415
        np.testing.assert_allclose(np.histogram(areas, 6, (0.1, 0.4))[0] / len(areas), 1 / 6, atol=0.025)

    def test_logarithms_of_the_ratios_are_uniform_where_they_fit(self):
        *_, height, width = self.sides(image.RandomErasing(probability=1.0, area=(0.1, 0.1), aspect_ratio=3.0))
        ratios = np.log(height / width) / math.log(3)
        assert np.abs(ratios).max() < 1.05
        np.testing.assert_allclose(np.histogram(ratios, 4, (-1, 1))[0] / len(ratios), 1 / 4, atol=0.03)

    @pytest.mark.parametrize("area", [0.5, 0.9, 1.0])
    def test_large_areas_fit_at_the_proportions_of_the_image(self, area):
        *_, height, width = self.sides(image.RandomErasing(probability=1.0, area=(area, area), aspect_ratio=10.0))
        np.testing.assert_allclose(height * width / (80 * 60), area, atol=0.02)
        assert len(set(zip(height, width, strict=True))) > (3 if area < 1 else 0)

    def test_area_is_kept_where_no_ratio_fits(self):
        *_, height, width = self.sides(
            image.RandomErasing(probability=1.0, area=(0.5, 0.5), aspect_ratio=1.5), height=4, width=100
        )
        np.testing.assert_array_equal(np.unique(height), [4])
        np.testing.assert_array_equal(np.unique(width), [50])

    def test_places_are_uniform(self):
        top, left, height, width = self.sides(image.RandomErasing(probability=1.0))
        for start, free in ((top, 80 - height), (left, 60 - width)):
            place = (start + 0.5) / (free + 1)
            np.testing.assert_allclose(np.histogram(place, 4, (0, 1))[0] / len(place), 1 / 4, atol=0.03)
        assert abs(np.corrcoef(top / (81 - height), left / (61 - width))[0, 1]) < 0.06

    @pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
    def test_images_are_left_alone_by_the_probability(self, probability):
        *_, height, width = self.sides(image.RandomErasing(probability=probability))
        assert np.all((height > 0) == (width > 0))
        assert np.mean(height > 0) == pytest.approx(probability, abs=0.025 if 0 < probability < 1 else 0)


class TestBadInput:
    @pytest.mark.parametrize(
        "area", [(0.4, 0.1), (-0.1, 0.2), (0.1, 1.1), (0.1,), 0.3, ("0", "1"), None, (0.1, float("nan"))]
    )
    def test_area(self, area):
        with pytest.raises(ValueError, match=r"`area` must be two numbers in \[0, 1\].*Received: area="):
            image.RandomErasing(area=area)

    @pytest.mark.parametrize("aspect_ratio", [0.9, -2, float("inf"), float("nan"), "2", None])
    def test_aspect_ratio(self, aspect_ratio):
        with pytest.raises(ValueError, match="`aspect_ratio` must be a number of at least 1. Received: aspect_ratio="):
            image.RandomErasing(aspect_ratio=aspect_ratio)

    @pytest.mark.parametrize("fill", [-0.1, 1.1, "grey", None, float("nan")])
    def test_fill(self, fill):
        with pytest.raises(ValueError, match=r'`fill` must be "noise", or a number in \[0, 1\]. Received: fill='):
            image.RandomErasing(fill=fill)
