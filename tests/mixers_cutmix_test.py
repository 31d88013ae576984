"""CutMix against its definition: what was pasted where is read off images that hold their own numbers."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_consistency import mixers

HEIGHT, WIDTH = 9, 14
CUTMIX = mixers.CutMix(alpha=1.0)


def numbered(count, height=HEIGHT, width=WIDTH, start=0):
    """Images, each with its number in every pixel: int32 `(count, height, width, 1)`."""
    numbers = np.arange(start, start + count, dtype="int32")
    return tf.constant(np.broadcast_to(numbers[:, None, None, None], (count, height, width, 1)))


def pasted(count, *, seed, alpha=1.0, height=HEIGHT, width=WIDTH):
    """Which pixels of each image came from its partner, bool `(count, height, width)`; partners; mixed one-hot rows."""
    images = numbered(count, height, width)
    (mixed,), (rows,) = mixers.CutMix(alpha=alpha)([images], [tf.eye(count)], seed=tf.constant([seed, 1]))
    mixed = mixed.numpy()[..., 0]
    own = np.arange(count)[:, None, None]
    foreign = mixed != own
    partners = np.where(foreign.any((1, 2)), (mixed * foreign).max((1, 2)), -1)
    assert (mixed == np.where(foreign, partners[:, None, None], own)).all(), "an image holds more than two"
    return foreign, partners, rows.numpy()


def by_definition(count, *, alpha, height=HEIGHT, width=WIDTH):
    """Masks drawn as the paper's equations 1 and 2 say, with NumPy's generator."""
    numbers = np.random.default_rng(1)
    kept = numbers.beta(alpha, alpha, size=count)
    masks = np.zeros([count, height, width], bool)
    for mask, share in zip(masks, kept, strict=True):
        box_height, box_width = round(height * (1 - share) ** 0.5), round(width * (1 - share) ** 0.5)
        top, left = numbers.integers(height) - box_height // 2, numbers.integers(width) - box_width // 2
        mask[max(top, 0) : max(top + box_height, 0), max(left, 0) : max(left + box_width, 0)] = True
    return masks


def test_what_is_pasted_is_a_box():
    for foreign in pasted(60, seed=0)[0]:
        rows, columns = foreign.any(1), foreign.any(0)
        assert (foreign == rows[:, None] & columns).all()
        for line in (rows, columns):
            assert np.abs(np.diff(line.astype(int))).sum() <= 2


def test_labels_are_mixed_by_the_pixels_that_are_covered():
    foreign, partners, rows = pasted(60, seed=0)
    covered = foreign.mean((1, 2))
    expected = np.diag(1 - covered)
    expected[np.arange(60), partners] += covered
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    assert 0.2 < covered.mean() < 0.6 and len(np.unique(covered)) > 20


def test_partners_are_a_permutation_of_all_batches():
    sizes = (3, 5, 4)
    starts = np.cumsum((0, *sizes))
    seen = set()
    for seed in range(12):
        images = [numbered(size, start=start) for size, start in zip(sizes, starts[:-1], strict=True)]
        mixed, targets = CUTMIX(images, tf.split(tf.eye(12), sizes), seed=tf.constant([seed, 1]))
        assert [len(each) for each in mixed] == [len(each) for each in targets] == list(sizes)
        matrix = np.concatenate(targets)
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
        foreign = matrix - np.diag(np.diag(matrix))
        partners = np.where(foreign.any(1), foreign.argmax(1), np.arange(12))
        known = foreign.any(1)
        assert len(set(partners[known])) == known.sum()
        seen |= {(place < 3, partner >= 3) for place, partner in enumerate(partners) if known[place]}
        for image, number in zip(np.concatenate(mixed), range(12), strict=True):
            assert set(np.unique(image)) <= {number, partners[number]}
    assert seen == {(True, True), (True, False), (False, True), (False, False)}


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
@pytest.mark.parametrize(("height", "width"), [(HEIGHT, WIDTH), (7, 3)])
def test_boxes_are_distributed_as_the_paper_has_it(alpha, height, width):
    count = 1500
    found = pasted(count, seed=3, alpha=alpha, height=height, width=width)[0]
    expected = by_definition(20_000, alpha=alpha, height=height, width=width)
    for statistic in (
        lambda masks: masks.mean((1, 2)),
        lambda masks: masks.any(2).sum(1),
        lambda masks: masks.any(1).sum(1),
    ):
        one, other = statistic(found), statistic(expected)
        assert scipy.stats.ks_2samp(one, other).pvalue > 0.01
    # How often each pixel is covered.
    share = expected.mean(0)
    deviations = (found.mean(0) - share) / np.sqrt(share * (1 - share) / count)
    assert np.abs(deviations).max() < 4.5
    other = by_definition(20_000, alpha=2 * alpha, height=height, width=width)
    assert scipy.stats.ks_2samp(found.mean((1, 2)), other.mean((1, 2))).pvalue < 0.01, "the test cannot tell"


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float32", "float64"])
def test_pixels_are_copied_to_the_bit(dtype):
    numbers = np.random.default_rng(0)
    images = numbers.uniform(0, 255, [20, 8, 8, 3]).astype(dtype)
    (mixed,), (rows,) = CUTMIX([tf.constant(images)], [tf.eye(20)], seed=tf.constant([0, 1]))
    partners = (rows.numpy() - np.diag(np.diag(rows))).argmax(1)
    assert mixed.dtype == dtype and rows.dtype == tf.float32
    mixed = mixed.numpy()
    own, other = (mixed == images).all(-1), (mixed == images[partners]).all(-1)
    assert (own | other).all() and not own.all() and not other.all()


def test_targets_of_the_size_of_the_images_are_cut_with_them():
    images = numbered(20)
    (mixed,), (targets,) = CUTMIX([images], [tf.cast(images, tf.float32) / 2], seed=tf.constant([0, 1]))
    np.testing.assert_array_equal(targets, mixed / 2)
    assert np.any(mixed != images)


def test_one_pixel_is_replaced_whole_or_not_at_all():
    foreign, partners, rows = pasted(40, seed=2, height=1, width=1)
    assert 5 < foreign.sum() < 35
    assert set(np.unique(rows)) == {0.0, 1.0}
    assert (rows.argmax(1) == np.where(foreign[:, 0, 0], partners, np.arange(40))).all()


@pytest.mark.parametrize("shape", [(4, 5), (4, 6, 3), (4, 2, 6, 6, 3)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"`CutMix` mixes images of shape .*`MixUp`. Received: inputs of shape \(4, "):
        CUTMIX([tf.zeros(shape)], [tf.eye(4)], seed=[0, 1])


def test_targets_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"`targets` of `CutMix` for each pixel.*\(4, 3, 3, 2\) for images"):
        CUTMIX([tf.zeros([4, 6, 6, 3])], [tf.zeros([4, 3, 3, 2])], seed=[0, 1])
