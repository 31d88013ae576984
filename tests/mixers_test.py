import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_consistency import mixers
from tests.contracts import recipes

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


MIXERS = {
    "mixup": lambda **options: mixers.MixUp(**{"alpha": 0.5, **options}),
    "cutmix": lambda **options: mixers.CutMix(**{"alpha": 0.5, **options}),
}
every_mixer = pytest.mark.parametrize("make", MIXERS.values(), ids=MIXERS)
SEED = tf.constant([5, 6])


def batches(sizes=SIZES, dtype="float32"):
    """Batches of images of 6×7 pixels, and class probabilities."""
    numbers = np.random.default_rng(0)
    images = [numbers.integers(0, 256, (n, 6, 7, 3)).astype(dtype) for n in sizes]
    targets = [numbers.dirichlet(np.ones(4), size=n).astype("float32") for n in sizes]
    return [tf.constant(x) for x in images], [tf.constant(q) for q in targets]


def assert_same(found, expected):
    for mine, theirs in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)


@every_mixer
@pytest.mark.parametrize("inputs", [tf.constant(["a", "b"]), {"a": tf.zeros([2, 1])}])
def test_inputs_that_cannot_be_mixed_are_refused(make, inputs):
    with pytest.raises(TypeError, match="`(MixUp|CutMix)` mixes numeric tensors. Received inputs of structure"):
        make()([inputs], [tf.eye(2)], seed=SEED)


@every_mixer
def test_a_batch_in_place_of_a_list_of_batches_is_refused(make):
    (images, *_), (targets, *_) = batches()
    with pytest.raises(TypeError, match=r"`inputs` of `\w+` must be a list of batches, as in .mixer\(\[x\], \[y\]"):
        make()(images, [targets], seed=SEED)
    with pytest.raises(TypeError, match="`targets` of `.*Received: targets of type"):
        make()([images], targets, seed=SEED)


@every_mixer
def test_class_numbers_are_refused(make):
    (images, *_), _ = batches()
    with pytest.raises(TypeError, match="`targets` of .* `tf.one_hot` .* Received: targets of dtype int64"):
        make()([images], [tf.constant([1, 2, 0], tf.int64)], seed=SEED)


@every_mixer
def test_batches_of_different_dtypes_become_floats(make):
    (first, *_), _ = batches()
    (second, *_), (targets, *_) = batches(dtype="uint8")
    mixed, _ = make()([first, second], [targets, targets], seed=SEED)
    assert {each.dtype for each in mixed} == {tf.float32}


@every_mixer
def test_every_mode_mixes_alike(make):
    mixer, (images, targets) = make(), batches(dtype="uint8")
    expected = mixer(images, targets, seed=SEED)
    for mixed, given in zip(expected, (images, targets), strict=True):
        assert np.any(mixed[0].numpy() != given[0].numpy())
    for jit in (False, True):
        run = tf.function(lambda images, targets, seed: mixer(images, targets, seed=seed), jit_compile=jit)
        assert_same(run(images, targets, SEED), expected)
    unknown = [
        [tf.TensorSpec([None, None, None, 3], tf.uint8)] * 3,
        [tf.TensorSpec([None, 4])] * 3,
        tf.TensorSpec([2], tf.int32),
    ]
    run = tf.function(lambda images, targets, seed: mixer(images, targets, seed=seed), input_signature=unknown)
    assert_same(run(images, targets, SEED), expected)


@every_mixer
def test_labelled_batches_are_mixed_in_a_pipeline(make):
    """As the docstrings have it, with calls at once that change nothing."""
    mixer, ((images, *_), _) = make(), batches([12], dtype="uint8")
    labels = np.arange(12) % 4

    def mixed(batch, seed):
        images, labels = batch
        (images,), (labels,) = mixer([images], [tf.one_hot(labels, 4)], seed=seed)
        return images, labels

    def run(calls):
        pairs = tf.data.Dataset.from_tensor_slices((images, labels)).batch(6, drop_remainder=True)
        seeds = tf.data.Dataset.from_tensors(tf.constant([1, 2])).concatenate(tf.data.Dataset.from_tensors([3, 4]))
        return list(tf.data.Dataset.zip(pairs, seeds).map(mixed, num_parallel_calls=calls))

    serial = run(None)
    assert_same(run(2), serial)
    assert serial[0][1].shape == (6, 4) and serial[0][0].shape == (6, 6, 7, 3)
    (first,), (classes,) = mixer([images[6:]], [tf.one_hot(labels[6:], 4)], seed=tf.constant([3, 4]))
    assert_same(serial[1], (first, classes))


@every_mixer
def test_empty_batches_pass(make):
    mixed, targets = make()([tf.zeros([0, 6, 7, 3])], [tf.zeros([0, 4])], seed=SEED)
    assert mixed[0].shape == (0, 6, 7, 3) and targets[0].shape == (0, 4)


@every_mixer
def test_mixmatch_trains_with_it(make):
    model = recipes.model("mixmatch", images=True, mixer=make())
    history = model.fit(recipes.batches(images=True), epochs=1, verbose=0, shuffle=False).history
    assert np.isfinite(history["loss"][0]) and history["consistency_loss"][0] > 0


@every_mixer
@pytest.mark.parametrize("alpha", [0, -1, float("inf"), "1"])
def test_alpha_out_of_range_is_refused(make, alpha):
    with pytest.raises(ValueError, match=r"`alpha` must be a number in \(0, inf\).*Received: alpha="):
        make(alpha=alpha)


@every_mixer
def test_two_replicas_mix_as_one(make):
    inputs, targets = batches([4, 8])
    mixer = make()
    alone = mixer(inputs, targets, seed=SEED)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())

    def half(value):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(np.split(value, 2)[context.replica_id_in_sync_group])
        )

    @tf.function
    def run(inputs, targets):
        return strategy.run(lambda x, q: mixer(x, q, seed=SEED), args=(inputs, targets))

    together = run([half(x) for x in inputs], [half(q) for q in targets])
    for mine, theirs in zip(alone, together, strict=True):
        for expected, found in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(
                np.concatenate(strategy.experimental_local_results(found)), expected, rtol=1e-6, atol=1e-6
            )
