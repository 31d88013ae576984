import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_consistency import mixers

SIZES = (3, 5, 4)


def mixing(alpha, seed, sizes=SIZES):
    """The matrix with which the mixer mixed: rows of shares, found by mixing one-hot rows."""
    inputs = tf.split(tf.eye(sum(sizes)), sizes)
    mixed, _ = mixers.MixUp(alpha=alpha)(inputs, inputs, seed=tf.constant([seed, 1]))
    assert [len(each) for each in mixed] == list(sizes)
    return np.concatenate(mixed)


def test_each_example_keeps_the_larger_share_and_partners_are_a_permutation():
    for seed in range(20):
        matrix = mixing(1.0, seed)
        own = np.diag(matrix)
        assert (own >= 0.5).all()
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
        rest = matrix - np.diag(own)
        alone = own > 1 - 1e-6
        assert ((rest > 0).sum(1) <= 1).all()
        partners = np.where(alone, np.arange(12), rest.argmax(1))
        assert sorted(partners) == list(range(12))


def test_partners_come_from_every_batch():
    partners = np.concatenate([(m - np.diag(np.diag(m))).argmax(1)[:3] for m in (mixing(1.0, s) for s in range(30))])
    assert set(partners) == set(range(12))


def test_inputs_and_targets_are_mixed_alike():
    numbers = np.random.default_rng(0)
    inputs = [numbers.normal(size=(n, 2, 3)).astype("float32") for n in SIZES]
    targets = [numbers.dirichlet(np.ones(4), size=n).astype("float32") for n in SIZES]
    mixed = mixers.MixUp(alpha=0.75)(
        [tf.constant(x) for x in inputs], [tf.constant(q) for q in targets], seed=tf.constant([4, 1])
    )
    matrix = mixing(0.75, 4).astype("float64")
    for found, given in zip(mixed, (inputs, targets), strict=True):
        given = np.concatenate(given).astype("float64")
        expected = np.tensordot(matrix, given, 1)
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.75, 1.0, 4.0])
def test_shares_are_beta_distributed(alpha):
    shares = np.diag(mixing(alpha, 7, sizes=(1500, 500)))
    drawn = np.random.default_rng(0).beta(alpha, alpha, size=200_000)
    assert scipy.stats.ks_2samp(shares, np.maximum(drawn, 1 - drawn).astype("float32")).pvalue > 0.01
    # The test can tell: a little more or less of alpha fails.
    other = np.random.default_rng(0).beta(1.5 * alpha, 1.5 * alpha, size=200_000)
    assert scipy.stats.ks_2samp(shares, np.maximum(other, 1 - other)).pvalue < 0.01


def test_the_seed_decides():
    np.testing.assert_array_equal(mixing(0.5, 3), mixing(0.5, 3))
    assert np.abs(mixing(0.5, 3) - mixing(0.5, 4)).max() > 0.1


def test_integers_become_floats():
    images = tf.constant([[0], [255]], tf.uint8)
    (mixed,), _ = mixers.MixUp(alpha=1.0)([images], [tf.eye(2)], seed=tf.constant([0, 0]))
    assert mixed.dtype == tf.float32 and float(tf.reduce_max(mixed)) <= 255


@pytest.mark.parametrize("inputs", [tf.constant(["a", "b"]), {"a": tf.zeros([2, 1])}])
def test_inputs_that_cannot_be_mixed_are_refused(inputs):
    with pytest.raises(TypeError, match="`MixUp` mixes numeric tensors"):
        mixers.MixUp(alpha=1.0)([inputs], [tf.eye(2)], seed=tf.constant([0, 0]))


@pytest.mark.parametrize("alpha", [0, -1, float("inf"), "1"])
def test_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match=r"`alpha` must be a number in \(0, inf\).*Received: alpha="):
        mixers.MixUp(alpha=alpha)


def test_two_replicas_mix_as_one():
    numbers = np.random.default_rng(0)
    inputs = [numbers.normal(size=(n, 2)).astype("float32") for n in (4, 8)]
    targets = [numbers.dirichlet(np.ones(3), size=n).astype("float32") for n in (4, 8)]
    mixer, seed = mixers.MixUp(alpha=0.5), tf.constant([5, 6])
    alone = mixer([tf.constant(x) for x in inputs], [tf.constant(q) for q in targets], seed=seed)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())

    def half(value):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(np.split(value, 2)[context.replica_id_in_sync_group])
        )

    @tf.function
    def run(inputs, targets):
        return strategy.run(lambda x, q: mixer(x, q, seed=seed), args=(inputs, targets))

    together = run([half(x) for x in inputs], [half(q) for q in targets])
    for mine, theirs in zip(alone, together, strict=True):
        for expected, found in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(
                np.concatenate(strategy.experimental_local_results(found)), expected, rtol=1e-6, atol=1e-6
            )
