"""PatchMasking: which squares it covers, and how many."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_consistency.augment import image

SEED = tf.constant([5, 6], tf.int64)


def chosen(layer, count, height, width):
    return layer.get_random_transformation(SEED, np.zeros([count, height, width, 1], "uint8")).numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("height", "width", "side"), [(12, 20, 4), (13, 18, 5), (1, 1, 4)])
def test_covers_the_chosen_squares_and_nothing_else(height, width, side, dtype, channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, height, width, channels)).astype(dtype)
    squares = rng.uniform(size=[3, -(-height // side), -(-width // side)]) < 0.5
    views = image.PatchMasking(patch_size=side, fill=0.2).transform_images(tf.constant(images), tf.constant(squares))
    covered = np.kron(squares, np.ones([1, side, side]))[:, :height, :width, None]
    np.testing.assert_array_equal(views, np.where(covered, 51, images))
    assert views.dtype == dtype


def test_grey_is_127_of_255_in_any_range():
    views = image.PatchMasking(ratio=1.0, value_range=(-1, 1))(np.full([1, 5, 5, 3], 0.5, "float32"))
    np.testing.assert_allclose(views, 127 / 127.5 - 1, atol=1e-6)
    assert np.all(image.PatchMasking(ratio=1.0)(np.zeros([1, 5, 5, 3], "uint8")) == 127)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.35, 0.5, 0.75, 1.0])
@pytest.mark.parametrize(("height", "width", "side", "squares"), [(32, 32, 4, 64), (15, 18, 4, 20), (9, 9, 16, 1)])
def test_every_image_has_exactly_as_many(ratio, height, width, side, squares):
    counts = chosen(image.PatchMasking(ratio=ratio, patch_size=side), 50, height, width).sum(axis=(1, 2))
    np.testing.assert_array_equal(counts, round(ratio * squares))


def test_every_set_is_equally_likely():
    drawn = chosen(image.PatchMasking(ratio=0.5, patch_size=2), 12_000, 4, 4).reshape(-1, 4)
    sets, counts = np.unique(drawn, axis=0, return_counts=True)
    assert {tuple(np.flatnonzero(one)) for one in sets} == set(itertools.combinations(range(4), 2))
    np.testing.assert_allclose(counts / len(drawn), 1 / 6, atol=0.015)


def test_images_draw_independently():
    drawn = chosen(image.PatchMasking(ratio=0.5, patch_size=1), 500, 6, 6).reshape(500, -1).astype(float)
    assert abs(np.corrcoef(drawn[1:].ravel(), drawn[:-1].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("patch_size", [0, -4, 2.0, True, "4", None])
def test_patch_size_is_checked(patch_size):
    with pytest.raises(ValueError, match="`patch_size` must be an integer of at least 1. Received: patch_size="):
        image.PatchMasking(patch_size=patch_size)
