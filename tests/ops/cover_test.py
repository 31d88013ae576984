"""Covering rectangles and squares of an image, against NumPy's slices."""

import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.ops import cover

IMAGES = [
    np.random.default_rng(0).integers(0, 256, (11, 7, 3)).astype("uint8"),
    np.random.default_rng(1).uniform(0, 1, (6, 9, 1)).astype("float32"),
]


@pytest.mark.parametrize("image", IMAGES, ids=["rgb", "grey"])
@pytest.mark.parametrize(
    ("top", "left", "height", "width"), [(2, 3, 3, 2), (-2, -1, 5, 4), (4, 5, 20, 20), (0, 0, 0, 5), (-5, 0, 3, 3)]
)
def test_rectangle_covers_what_lies_in_the_image(image, top, left, height, width):
    value = np.random.default_rng(2).uniform(0, 99, image.shape).astype(image.dtype)
    part = np.s_[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    for cover_with in (value, value[0, 0, 0]):
        expected = image.copy()
        expected[part] = np.broadcast_to(cover_with, image.shape)[part]
        ours = cover.rectangle(tf.constant(image), top, left, height, width, tf.constant(cover_with))
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("image", IMAGES, ids=["rgb", "grey"])
@pytest.mark.parametrize("side", [1, 3, 4, 20])
def test_patches_cover_the_chosen_squares(image, side):
    grid = [-(-size // side) for size in image.shape[:2]]
    chosen = np.random.default_rng(3).uniform(size=grid) < 0.5
    covered = np.kron(chosen, np.ones([side, side], bool))[: image.shape[0], : image.shape[1], None]
    ours = cover.patches(tf.constant(image), tf.constant(chosen), side, tf.constant(1, image.dtype))
    np.testing.assert_array_equal(ours, np.where(covered, 1, image))


def test_size_may_be_unknown():
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def run(image):
        return cover.rectangle(image, 1, 2, 3, 4, tf.constant(9, tf.uint8))

    expected = IMAGES[0].copy()
    expected[1:4, 2:6] = 9
    np.testing.assert_array_equal(run(IMAGES[0]), expected)
