import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_consistency.ops import random
from keras_consistency.perturbations import Masking
from tests.contracts import replicas_test

SEED = tf.constant([3, 9])
SHAPES = {(3, 7): (7,), (3, 7, 2): (7,), (3, 5, 7, 2): (5, 7)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("patch_size", "jit_compile"), [(1, None), (2, None), (3, None), (20, None), (3, False), (3, True)]
)
def test_it_masks_the_patches_that_are_drawn(shape, patch_size, jit_compile):
    inputs = np.random.default_rng(0).uniform(1, 2, size=shape).astype("float32")
    grid = [-(-size // patch_size) for size in SHAPES[shape]]
    chosen = random.uniform(SEED, 3, grid).numpy() < 0.4
    expected = inputs.copy()
    for place in np.ndindex(3, *SHAPES[shape]):
        if chosen[(place[0], *(each // patch_size for each in place[1:]))]:
            expected[place] = -5.0
    masking = Masking(ratio=0.4, patch_size=patch_size, value=-5)
    call = masking if jit_compile is None else tf.function(masking, jit_compile=jit_compile)
    np.testing.assert_array_equal(call(tf.constant(inputs), None, seed=SEED), expected)


def test_each_patch_is_as_likely_and_on_its_own():
    masked = 1 - Masking(ratio=0.3, patch_size=2)(tf.ones([2000, 8, 8, 1]), seed=SEED).numpy()[:, ::2, ::2, 0]
    counts = masked.sum(axis=0)
    # Of 16 places, each a binomial number.
    assert stats.chisquare(counts.ravel(), np.full(16, counts.mean())).pvalue > 0.01
    assert stats.binomtest(int(counts.sum()), 32_000, 0.3).pvalue > 0.01
    of_example = np.bincount(masked.sum(axis=(1, 2)).astype(int), minlength=17)
    expected = 2000 * stats.binom(16, 0.3).pmf(np.arange(17))
    likely = expected > 5
    assert (
        stats.chisquare(of_example[likely], expected[likely] / expected[likely].sum() * of_example[likely].sum()).pvalue
        > 0.01
    )


def test_no_patch_and_all_patches():
    inputs = tf.fill([2, 4, 4, 1], 3.0)
    np.testing.assert_array_equal(Masking(ratio=0)(inputs), inputs)
    np.testing.assert_array_equal(Masking(ratio=1, value=0.5)(inputs), tf.fill([2, 4, 4, 1], 0.5))
    assert Masking(ratio=1)(tf.cast(inputs, tf.float16)).dtype == tf.float32


def test_without_a_seed_draws_follow_that_of_keras():
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(4)
        drawn.append([Masking(ratio=0.5)(tf.ones([4, 20])).numpy() for _ in range(2)])
    np.testing.assert_array_equal(*drawn)
    assert np.any(drawn[0][0] != drawn[0][1])


def test_batch_of_unknown_size_and_steps():
    masking = tf.function(Masking(ratio=0.5, patch_size=2), input_signature=[tf.TensorSpec([None, None, 3])])
    for shape in ((2, 5, 3), (4, 8, 3)):
        found = masking(tf.ones(shape)).numpy()
        assert found.shape == shape and 0 < found.mean() < 1
        np.testing.assert_array_equal(found.min(axis=2), found.max(axis=2))


def test_replicas_draw_as_one_would():
    strategy, masking = replicas_test.strategy_of(2), Masking(ratio=0.5, patch_size=2)
    found = tf.function(lambda: strategy.run(lambda: masking(tf.ones([3, 8, 8, 1]), seed=SEED)))()
    expected = masking(tf.ones([6, 8, 8, 1]), seed=SEED)
    np.testing.assert_array_equal(np.concatenate(strategy.experimental_local_results(found)), expected)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (tf.ones([2, 4, 4, 1], tf.uint8), "`inputs`.*floating-point.*Received: inputs of dtype uint8"),
        (tf.ones([2, 4, 4, 4, 1]), r"`inputs` must be features.*images.*Received: inputs of shape \(2, 4, 4, 4, 1\)"),
        (tf.ones([3]), r"`inputs`.*Received: inputs of shape \(3,\)"),
    ],
    ids=["integers", "volumes", "no batch"],
)
def test_bad_inputs(inputs, words):
    with pytest.raises(ValueError, match=words):
        Masking(ratio=0.5)(inputs)
