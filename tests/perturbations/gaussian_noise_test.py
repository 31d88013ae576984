import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_consistency.ops import random
from keras_consistency.perturbations import GaussianNoise
from tests.contracts import replicas_test

SEED = tf.constant([3, 9])


def test_it_adds_the_documented_draw():
    inputs = np.random.default_rng(0).uniform(size=(4, 3, 2))
    noise = random.normal(SEED, 4, [3, 2]).numpy().astype("float64")
    for clip_range in (None, (0, 1)):
        expected = inputs + 0.7 * noise if clip_range is None else np.clip(inputs + 0.7 * noise, 0, 1)
        found = GaussianNoise(stddev=0.7, clip_range=clip_range)(tf.constant(inputs, tf.float32), seed=SEED)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_it_is_normal():
    found = GaussianNoise(stddev=2.0)(tf.ones([40, 5000]), seed=SEED).numpy()
    assert stats.kstest(found.ravel()[:50_000], stats.norm(1, 2).cdf).pvalue > 0.01
    np.testing.assert_allclose(np.std(found), 2.0, rtol=0.01)
    assert np.abs(np.corrcoef(found)[~np.eye(40, dtype=bool)]).max() < 0.08, "examples draw for themselves"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_any_precision_becomes_float32(dtype):
    inputs = tf.cast(tf.fill([2, 3], 0.3), dtype)
    found = GaussianNoise(stddev=1.0)(inputs, seed=SEED)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, GaussianNoise(stddev=1.0)(tf.cast(inputs, tf.float32), seed=SEED))
    np.testing.assert_array_equal(GaussianNoise(stddev=0)(inputs), tf.cast(inputs, tf.float32))


def test_seed_decides():
    noise, inputs = GaussianNoise(stddev=1.0), tf.zeros([3, 4])
    eager = noise(inputs, seed=SEED)
    for jit in (False, True):
        np.testing.assert_allclose(tf.function(noise, jit_compile=jit)(inputs, None, seed=SEED), eager, atol=1e-5)
    assert np.all(noise(inputs, seed=[1, 1]) != eager)


@pytest.mark.parametrize("graph", [False, True])
def test_without_a_seed_draws_follow_that_of_keras(graph):
    noise = GaussianNoise(stddev=1.0)
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(4)
        call = tf.function(lambda x: noise(x)) if graph else noise
        drawn.append([call(tf.zeros([2, 3])).numpy() for _ in range(2)])
    np.testing.assert_array_equal(*drawn)
    assert np.all(drawn[0][0] != drawn[0][1])


def test_replicas_draw_as_one_would():
    strategy, noise = replicas_test.strategy_of(2), GaussianNoise(stddev=1.0)
    found = tf.function(lambda: strategy.run(lambda: noise(tf.zeros([3, 4]), seed=SEED)))()
    expected = noise(tf.zeros([6, 4]), seed=SEED)
    np.testing.assert_allclose(np.concatenate(strategy.experimental_local_results(found)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (tf.ones([2, 3], tf.uint8), "`inputs`.*floating-point.*Received: inputs of dtype uint8"),
        (tf.ones([3]), r"`inputs`.*\(examples, ...\).*Received: inputs of shape \(3,\)"),
        (2 * tf.ones([2, 3]), r"`inputs` must lie in `clip_range`, \[0, 1\].*Received inputs from, to: 2.0 2.0"),
    ],
    ids=["integers", "no batch", "outside"],
)
def test_bad_inputs(inputs, words):
    with pytest.raises(ValueError, match=words):
        GaussianNoise(stddev=1.0, clip_range=(0, 1))(inputs)
