"""The warp against PIL's `Image.transform` and against the definition in float64."""

import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_consistency.ops import warp

FILL = 127
PIL_MODES = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}
SIZES = [(17, 23, 3), (32, 32, 3), (28, 28, 1), (5, 40, 1)]


def picture(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape).astype("uint8")


def maps(height, width):
    """Our matrices, by what they do."""
    c = lambda value: tf.constant([value], tf.float32)  # noqa: E731
    return {
        "rotate": warp.rotation(c(13.7), height, width),
        "rotate_back": warp.rotation(c(-29.3), height, width),
        "shear_x": warp.shear(c(0.23), c(0.0)),
        "shear_y": warp.shear(c(0.0), c(-0.171)),
        "translate": warp.translation(c(2.37), c(-1.61)),
        "all": warp.rotation(c(21.1), height, width) @ warp.shear(c(0.1), c(0.07)) @ warp.translation(c(1.3), c(0.7)),
    }


MAPS = sorted(maps(8, 8))


def from_pil(image, shape):
    return np.asarray(image).reshape(shape)


def pil_transform(image, matrix, interpolation):
    pil = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    fill = FILL if image.shape[-1] == 1 else (FILL,) * 3
    coefficients = matrix[:2].astype(float).ravel()
    size = (image.shape[1], image.shape[0])
    moved = pil.transform(size, Image.Transform.AFFINE, coefficients, PIL_MODES[interpolation], fillcolor=fill)
    return from_pil(moved, image.shape)


def reference(image, matrix):
    """Bilinear interpolation from its definition, pixel by pixel, in float64."""
    height, width, _ = image.shape
    output = np.full(image.shape, float(FILL))
    for i in range(height):
        for j in range(width):
            x, y, _ = matrix.astype("float64") @ [j + 0.5, i + 0.5, 1.0]
            if not (0 <= x < width and 0 <= y < height):
                continue
            total = 0.0
            for row in (math.floor(y - 0.5), math.floor(y - 0.5) + 1):
                for column in (math.floor(x - 0.5), math.floor(x - 0.5) + 1):
                    share = (1 - abs(y - 0.5 - row)) * (1 - abs(x - 0.5 - column))
                    total = total + share * image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
            output[i, j] = total
    return output


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("interpolation", PIL_MODES)
def test_warp_is_pils_within_one_level(shape, name, interpolation):
    image, matrix = picture(shape), maps(*shape[:2])[name]
    ours = warp.warp(tf.constant(image[None]), matrix, fill=FILL, interpolation=interpolation)[0].numpy()
    difference = np.abs(ours.astype(int) - pil_transform(image, matrix[0].numpy(), interpolation).astype(int))
    # PIL steps through a row in fixed point, so that a pixel on an edge may fall on its other side.
    allowed = 0 if interpolation == "nearest" else 1
    assert np.mean(difference > allowed) <= 0.01


@pytest.mark.parametrize("degrees", [-30.0, -7.5, 11.0, 30.0])
@pytest.mark.parametrize("shape", SIZES)
def test_rotation_is_pils_rotate(shape, degrees):
    image = picture(shape)
    pil = Image.fromarray(image[..., 0] if shape[-1] == 1 else image)
    fill = FILL if shape[-1] == 1 else (FILL,) * 3
    expected = from_pil(pil.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=fill), shape).astype(int)
    matrix = warp.rotation(tf.constant([degrees]), *shape[:2])
    ours = warp.warp(tf.constant(image[None]), matrix, fill=FILL)[0].numpy().astype(int)
    assert np.mean(np.abs(ours - expected) > 1) <= 0.01


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_warp_is_its_definition(name, dtype):
    image, matrix = picture((9, 14, 3), 3).astype(dtype), maps(9, 14)[name]
    ours = warp.warp(tf.constant(image[None]), matrix, fill=FILL)[0].numpy()
    expected = reference(image, matrix[0].numpy())
    np.testing.assert_allclose(ours, expected, atol=0.501 if dtype == "uint8" else 2e-2)


@pytest.mark.parametrize("interpolation", PIL_MODES)
def test_identity_map_changes_no_bit(interpolation):
    images = np.stack([picture((21, 13, 3), seed) for seed in range(4)])
    matrices = warp.translation(tf.zeros(4), tf.zeros(4))
    np.testing.assert_array_equal(warp.warp(images, matrices, fill=0, interpolation=interpolation), images)


def test_each_image_has_its_own_map():
    images = np.stack([picture((6, 7, 1))] * 3)
    moved = warp.warp(images, warp.translation(tf.constant([0.0, 2.0, 0.0]), tf.constant([0.0, 0.0, -1.0])), fill=9)
    np.testing.assert_array_equal(moved[0], images[0])
    np.testing.assert_array_equal(moved[1, :, :-2], images[0, :, 2:])
    np.testing.assert_array_equal(moved[2, 1:], images[0, :-1])
    assert np.all(moved[1, :, -2:] == 9) and np.all(moved[2, 0] == 9)


def test_product_of_maps_is_one_map_after_the_other():
    first = warp.translation(tf.constant([3.0]), tf.constant([0.0]))
    second = warp.translation(tf.constant([-1.0]), tf.constant([2.0]))
    image = picture((12, 12, 3))[None]
    twice = warp.warp(warp.warp(image, first, fill=0), second, fill=0)
    once = warp.warp(image, first @ second, fill=0)
    np.testing.assert_array_equal(once[:, 2:-2, 2:-3], twice[:, 2:-2, 2:-3])
    quarter = warp.rotation(tf.constant([90.0]), 12, 12)
    # A turn after a translation is not a translation after a turn.
    inside = slice(4, 8)
    turned = np.rot90(np.asarray(warp.warp(image, first, fill=0)), axes=(1, 2))
    ours = warp.warp(image, first @ quarter, fill=0)
    np.testing.assert_array_equal(ours[:, inside, inside], turned[:, inside, inside])


def test_crop_shows_a_box():
    image = picture((8, 12, 3))[None]
    c = lambda value: tf.constant([value], tf.float32)  # noqa: E731
    shown = warp.warp(image, warp.crop(c(3.0), c(2.0), c(6.0), c(4.0), 8.0, 12.0), fill=0, interpolation="nearest")
    np.testing.assert_array_equal(shown, image[:, 2:4, 3:6].repeat(4, axis=1).repeat(4, axis=2))
    mirrored = warp.warp(image, warp.crop(c(12.0), c(0.0), c(0.0), c(8.0), 8.0, 12.0), fill=0)
    np.testing.assert_array_equal(mirrored, image[:, :, ::-1])


def test_inverse_leads_back():
    matrices = np.random.default_rng(0).normal(size=[20, 3, 3]).astype("float32") + 3 * np.eye(3, dtype="float32")
    expected = np.linalg.inv(matrices.astype("float64"))
    np.testing.assert_allclose(warp.inverse(matrices), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(warp.inverse(tf.eye(3)[None]), np.eye(3)[None])


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_nearest_pixels_are_not_rounded(dtype):
    values = np.array([2**53, 2**53 - 1, 7, -(2**40) - 1]).reshape(1, 1, 4, 1).astype(dtype)
    moved = warp.warp(
        values, warp.translation(tf.constant([1.0]), tf.constant([0.0])), fill=-1, interpolation="nearest"
    )
    np.testing.assert_array_equal(np.ravel(moved), [*values[0, 0, 1:, 0], -1])


def test_one_pixel_and_empty_batches_pass():
    matrix = warp.rotation(tf.constant([10.0]), 1, 1)
    np.testing.assert_array_equal(warp.warp(np.full((1, 1, 1, 3), 5, "uint8"), matrix, fill=0), [[[[5, 5, 5]]]])
    assert warp.warp(tf.zeros([0, 4, 4, 3]), tf.zeros([0, 3, 3]), fill=0).shape == (0, 4, 4, 3)


@pytest.mark.parametrize("interpolation", PIL_MODES)
def test_xla_warps_the_same(interpolation):
    image, matrix = picture((32, 32, 3))[None], maps(32, 32)["all"]

    def run(image, matrix):
        return warp.warp(image, matrix, fill=FILL, interpolation=interpolation)

    plain = tf.function(run)(image, matrix).numpy().astype(int)
    compiled = tf.function(run, jit_compile=True)(image, matrix).numpy().astype(int)
    assert np.mean(np.abs(plain - compiled) > 1) <= 0.002
