import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_consistency.ops import random

SEED = (11, 5)
DRAWS = {
    "uniform": lambda rows: random.uniform(tf.constant(SEED), rows, [3]),
    "scalars": lambda rows: random.uniform(tf.constant(SEED), rows),
    "normal": lambda rows: random.normal(tf.constant(SEED), rows, [3]),
}


@pytest.mark.parametrize("draw", DRAWS)
def test_two_replicas_draw_what_one_draws(draw):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
    alone = DRAWS[draw](8)
    together = tf.function(lambda: strategy.run(lambda: DRAWS[draw](4)))()
    halves = strategy.experimental_local_results(together)
    assert len(halves) == 2
    np.testing.assert_allclose(np.concatenate(halves), alone, rtol=1e-6, atol=1e-6)
    assert len(np.unique(alone)) > 6


@pytest.mark.parametrize("draw", DRAWS)
def test_eager_graph_and_compiled_draws_are_equal(draw):
    expected = DRAWS[draw](8)
    for jit in (False, True):
        found = tf.function(lambda: DRAWS[draw](8), jit_compile=jit)()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_number_of_rows_may_be_a_tensor():
    found = tf.function(lambda rows: random.normal(tf.constant(SEED), rows, [3]))(tf.constant(8))
    np.testing.assert_array_equal(found, random.normal(tf.constant(SEED), 8, [3]))


def test_distributions():
    uniform = random.uniform(tf.constant(SEED), 4000)
    assert scipy.stats.kstest(uniform, scipy.stats.uniform(0, 1).cdf).pvalue > 0.01
    normal = random.normal(tf.constant(SEED), 4000)
    assert scipy.stats.kstest(normal, scipy.stats.norm.cdf).pvalue > 0.01


def test_folded_seeds_differ_and_repeat():
    seed = tf.constant(SEED)
    folded = [tuple(random.fold(seed, value).numpy()) for value in (-1, 0, 1, 2, 1000)]
    assert len({*folded, SEED}) == 6
    assert folded[1] == tuple(random.fold(seed, 0).numpy())
    draws = [random.normal(tf.constant(each), 1000).numpy() for each in folded]
    assert np.abs(np.corrcoef(draws) - np.eye(5)).max() < 0.15
