import collections

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
    "dirichlet": lambda rows: random.dirichlet(tf.constant(SEED), rows, 3, 0.5),
    "row seeds": lambda rows: random.row_seeds(tf.constant(SEED), rows),
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


@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0, 2.0, 50.0])
def test_symmetric_beta(alpha):
    drawn = random.shared_beta(tf.constant(SEED), [4000], alpha)
    assert scipy.stats.kstest(drawn, scipy.stats.beta(alpha, alpha).cdf).pvalue > 0.01
    assert scipy.stats.kstest(drawn, scipy.stats.beta(1.3 * alpha, 1.3 * alpha).cdf).pvalue < 0.01
    for jit in (False, True):
        again = tf.function(lambda: random.shared_beta(tf.constant(SEED), [4000], alpha), jit_compile=jit)()
        np.testing.assert_allclose(again, drawn, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("alpha", "within"), [(1e-6, 0.5), (1e6, 2e-3)])
def test_symmetric_beta_at_its_ends(alpha, within):
    """All or nothing, and nearly one half."""
    drawn = random.shared_beta(tf.constant(SEED), [4000], alpha).numpy()
    far = np.abs(drawn - 0.5)
    assert 0.5 * within < far.max() <= within and drawn.mean() == pytest.approx(0.5, abs=0.03)
    assert alpha > 1 or far.min() == 0.5


def test_folded_seeds_differ_and_repeat():
    seed = tf.constant(SEED)
    folded = [tuple(random.fold(seed, value).numpy()) for value in (-1, 0, 1, 2, 1000)]
    assert len({*folded, SEED}) == 6
    assert folded[1] == tuple(random.fold(seed, 0).numpy())
    draws = [random.normal(tf.constant(each), 1000).numpy() for each in folded]
    assert np.abs(np.corrcoef(draws) - np.eye(5)).max() < 0.15


def test_draws_of_one_row_are_those_of_a_ragged_row():
    seed = random.row_seeds(tf.constant(SEED), 3)[1]
    drawn = random.row_uniform(seed, [4, 5, 3])
    np.testing.assert_array_equal(
        tf.reshape(drawn, [-1]), random.ragged_uniform(seed[None], tf.constant([0, 60], tf.int64))
    )


def test_normal_draws_of_one_row_are_the_quantiles_of_the_uniform_ones():
    for seed in random.row_seeds(tf.constant(SEED), 3):
        uniform = random.row_uniform(seed, [100_000]).numpy().astype(float)
        normal = random.row_normal(seed, [100_000]).numpy()
        np.testing.assert_allclose(normal, scipy.stats.norm.ppf(uniform + 2.0**-25), rtol=5e-6, atol=1e-6)
        assert scipy.stats.kstest(normal, scipy.stats.norm.cdf).pvalue > 0.01
        assert np.abs(normal).max() > 4.0


def test_normal_draws_reach_both_tails(monkeypatch):
    monkeypatch.setattr(random, "row_uniform", lambda seed, shape: tf.constant([0.0, 1e-6, 0.999, 1.0 - 2.0**-24]))
    expected = scipy.stats.norm.ppf(np.array([0.0, 1e-6, 0.999, 1.0 - 2.0**-24]) + 2.0**-25)
    np.testing.assert_allclose(random.row_normal(None, [4]), expected, rtol=3e-3)


LENGTHS = np.array([3, 0, 5, 1, 7])
SPLITS = tf.constant(np.cumsum([0, *LENGTHS]), tf.int64)
ROW_SEEDS = tf.constant([5, 6, 7, -(2**63), 2**63 - 1], tf.int64)


def by_definition(seed, length, draw):
    """SplitMix64 from a counter that another SplitMix64 of the row's seed and the draw sets, in Python's integers."""
    limit, golden = 2**64 - 1, 0x9E3779B97F4A7C15

    def mixed(bits):
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & limit
        return (bits ^ bits >> 27) * 0x94D049BB133111EB & limit

    start = mixed((seed + (draw + 1) * golden) & limit) >> 2
    return [(mixed((start + position) * golden & limit) >> 40) / 2**24 for position in range(length)]


def table(rows, columns, draw=0):
    """Draws of rows whose seeds are neighbours, the worst there are: float32 `(rows, columns)`."""
    splits = tf.range(0, rows * columns + 1, columns, dtype=tf.int64)
    return random.ragged_uniform(tf.range(rows, dtype=tf.int64), splits, draw).numpy().reshape(rows, columns)


@pytest.mark.parametrize("draw", [0, 1, 5])
def test_ragged_draws_follow_their_definition(draw):
    expected = [by_definition(int(seed), n, draw) for seed, n in zip(ROW_SEEDS, LENGTHS, strict=True)]
    found = random.ragged_uniform(ROW_SEEDS, SPLITS, draw)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, np.float32(sum(expected, [])))
    compiled = tf.function(lambda: random.ragged_uniform(ROW_SEEDS, SPLITS, draw))
    np.testing.assert_array_equal(compiled(), found)


def test_ragged_draws_of_some_elements_are_those_of_all():
    some = tf.constant([0, 2, 3, 8, 9, 15], tf.int64)
    for draw in (0, 3):
        whole = random.ragged_uniform(ROW_SEEDS, SPLITS, draw)
        np.testing.assert_array_equal(random.ragged_uniform(ROW_SEEDS, SPLITS, draw, some), tf.gather(whole, some))
    assert random.ragged_uniform(ROW_SEEDS, SPLITS, 0, some[:0]).shape == (0,)
    np.testing.assert_array_equal(random.row_of(SPLITS, some), [0, 0, 2, 3, 4, 4])


@pytest.mark.parametrize("probability", [0, 0.0, 1e-7, 0.1, 0.5, 0.999, 1, 1.0])
def test_ragged_choice_is_of_the_elements_that_draw_less(probability):
    splits = tf.range(0, 20_001, 200, dtype=tf.int64)
    seeds = tf.range(100, dtype=tf.int64)
    chosen, rest = random.ragged_choice(seeds, splits, probability, draw=2)
    expected = np.flatnonzero(random.ragged_uniform(seeds, splits, 2) < probability)
    np.testing.assert_array_equal(chosen, expected)
    assert rest.shape == chosen.shape and rest.dtype == tf.float64


@pytest.mark.parametrize("probability", [0.002, 0.3, 1.0])
def test_what_is_left_of_a_choice_is_a_uniform_draw(probability):
    splits = tf.range(0, 500_001, 500, dtype=tf.int64)
    chosen, rest = random.ragged_choice(tf.range(1000, dtype=tf.int64), splits, probability)
    rest = rest.numpy()
    assert rest.min() >= 0.0 and rest.max() < 1.0
    assert scipy.stats.kstest(rest, scipy.stats.uniform(0, 1).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(rest[1:], rest[:-1])[0, 1]) < 4 / np.sqrt(rest.size)
    assert abs(np.corrcoef(rest, chosen % 500)[0, 1]) < 4 / np.sqrt(rest.size)


def test_ragged_draws_do_not_depend_on_the_other_rows():
    whole = random.ragged_uniform(ROW_SEEDS, SPLITS)
    row = random.ragged_uniform(ROW_SEEDS[4:], tf.constant([0, 7], tf.int64))
    np.testing.assert_array_equal(row, whole[9:])
    assert random.ragged_uniform(ROW_SEEDS[:0], tf.constant([0], tf.int64)).shape == (0,)


def test_row_seeds_do_not_depend_on_the_number_of_rows():
    whole = random.row_seeds(tf.constant(SEED), 100).numpy()
    np.testing.assert_array_equal(random.row_seeds(tf.constant(SEED), 7), whole[:7])
    assert len(set(whole)) == 100 and whole.dtype == np.int64
    assert whole.min() < -(2**60) and whole.max() > 2**60


@pytest.mark.parametrize("shape", [(1, 200_000), (200_000, 1), (447, 447)])
def test_ragged_draws_are_uniform(shape):
    draws = table(*shape).ravel()
    assert draws.min() >= 0.0 and draws.max() < 1.0
    for bits in (draws, draws * 256 % 1, draws * 2**16 % 1):  # the upper, middle and lower third of their bits
        counts = np.histogram(bits, bins=256, range=(0, 1))[0]
        assert scipy.stats.chisquare(counts).pvalue > 1e-3
    assert scipy.stats.kstest(draws, scipy.stats.uniform(0, 1).cdf).pvalue > 1e-3


@pytest.mark.parametrize("lag", [1, 2, 7, 64])
def test_ragged_draws_are_independent_between_positions_rows_and_draws(lag):
    square, other = table(447, 447), table(447, 447, draw=lag)
    pairs = {
        "positions": (square[:, lag:], square[:, :-lag]),
        "rows": (square[lag:], square[:-lag]),
        "both": (square[lag:, lag:], square[:-lag, :-lag]),
        "draws": (square, other),
        "draws and positions": (square[:, lag:], other[:, :-lag]),
    }
    for name, (one, two) in pairs.items():
        counts = np.histogram2d(one.ravel(), two.ravel(), bins=16, range=[(0, 1)] * 2)[0]
        assert scipy.stats.chisquare(counts.ravel()).pvalue > 1e-3, name
        assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 4 / np.sqrt(one.size), name


def test_words_chosen_in_equal_texts_are_as_often_together_as_chance_has_it():
    chosen = (table(4000, 50) < 0.1).sum(axis=1)
    expected = scipy.stats.binom(50, 0.1).pmf(np.arange(12)) * 4000
    counts = np.bincount(np.minimum(chosen, 11), minlength=12)
    assert scipy.stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3


def test_ragged_shuffle_draws_every_order_of_the_elements_of_a_row():
    rows = 6000
    splits = tf.range(0, 5 * rows + 1, 5, dtype=tf.int64)
    elements = tf.reshape(splits[:-1, None] + tf.constant([0, 2, 3], tf.int64), [-1])
    order = random.ragged_shuffle(tf.range(rows, dtype=tf.int64), splits, 1, elements).numpy().reshape(rows, 3)
    own = elements.numpy().reshape(rows, 3)
    np.testing.assert_array_equal(np.sort(order), own)
    counts = list(collections.Counter(map(tuple, order - own[:, :1])).values())
    assert len(counts) == 6 and scipy.stats.chisquare(counts).pvalue > 1e-3


def test_ragged_shuffle_of_nothing_and_of_rows_without_elements():
    none = tf.zeros([0], tf.int64)
    assert random.ragged_shuffle(ROW_SEEDS, SPLITS, 1, none).shape == (0,)
    np.testing.assert_array_equal(random.ragged_shuffle(ROW_SEEDS, SPLITS, 1, tf.constant([8], tf.int64)), [8])


@pytest.mark.parametrize("alpha", [0.3, 1, 7.0])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_dirichlet_shares_have_their_distribution(size, alpha):
    shares = random.dirichlet(tf.constant(SEED), 20_000, size, alpha).numpy().astype("float64")
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)
    if size == 1:
        return
    for share in shares.T:
        assert scipy.stats.kstest(share, scipy.stats.beta(alpha, (size - 1) * alpha).cdf).pvalue > 1e-3
    expected = scipy.stats.dirichlet([alpha] * size)
    np.testing.assert_allclose(np.cov(shares.T), expected.cov(), atol=0.01)


def test_dirichlet_of_a_small_parameter_is_finite():
    shares = random.dirichlet(tf.constant(SEED), 1000, 3, 1e-4).numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(shares.mean(axis=0), 1 / 3, atol=0.06)
