import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency import forwards

NUMBERS = np.random.default_rng(0)


def inputs():
    return {
        "labeled": tf.constant(NUMBERS.normal(size=(4, 3)), tf.float32),
        "weak": tf.constant(NUMBERS.normal(loc=2, size=(6, 3)), tf.float32),
        "strong": tf.constant(NUMBERS.normal(loc=-1, scale=3, size=(6, 3)), tf.float32),
    }


def normalised(*batches):
    """Each batch by the statistics of all of them; and these."""
    everything = np.concatenate(batches).astype("float64")
    mean, variance = everything.mean(0), everything.var(0)
    return [(batch - mean) / np.sqrt(variance + 1e-3) for batch in batches], mean, variance


def test_concatenated_normalises_by_the_mixture():
    given, layer = inputs(), keras.layers.BatchNormalization(momentum=0.9)
    found = forwards.Concatenated()(lambda x: layer(x, training=True), given)
    expected, mean, variance = normalised(*given.values())
    assert list(found) == list(given)
    for ours, theirs in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * variance, atol=1e-5)


def test_separate_normalises_each_batch_by_itself_in_turn():
    given, layer = inputs(), keras.layers.BatchNormalization(momentum=0.9)
    found = forwards.Separate()(lambda x: layer(x, training=True), given)
    moving_mean = 0.0
    for key, batch in given.items():
        (expected,), mean, _ = normalised(batch)
        np.testing.assert_allclose(found[key], expected, atol=1e-5)
        moving_mean = 0.9 * moving_mean + 0.1 * mean
    np.testing.assert_allclose(layer.moving_mean, moving_mean, atol=1e-5)


@pytest.mark.parametrize("forward", [forwards.Concatenated(), forwards.Separate()])
def test_structures_go_in_and_come_out(forward):
    given = {
        "a": {"x": tf.ones([2, 3]), "n": tf.constant([1, 2])},
        "b": {"x": 2 * tf.ones([1, 3]), "n": tf.constant([3])},
    }

    def network(value):
        return {"sum": tf.reduce_sum(value["x"], -1), "parts": (value["n"], [value["x"]])}

    found = forward(network, given)
    np.testing.assert_array_equal(found["a"]["sum"], [3, 3])
    np.testing.assert_array_equal(found["b"]["parts"][0], [3])
    np.testing.assert_array_equal(found["b"]["parts"][1][0], [[2, 2, 2]])


@pytest.mark.parametrize(("forward", "calls"), [(forwards.Concatenated(), 1), (forwards.Separate(), 3)])
def test_number_of_calls(forward, calls):
    seen = []
    forward(lambda x: seen.append(x.shape[0]) or x, inputs())
    assert len(seen) == calls and sum(seen) == 16


def test_concatenated_brings_integers_and_floats_together():
    given = {"a": tf.constant([[200]], tf.uint8), "b": tf.constant([[0.5]])}
    found = forwards.Concatenated()(lambda x: x, given)
    assert found["a"].dtype == tf.float32
    np.testing.assert_array_equal(np.concatenate(list(found.values())), [[200], [0.5]])


def test_concatenated_splits_batches_of_unknown_size():
    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None, 3])])
    def run(a, b):
        return forwards.Concatenated()(lambda x: 2 * x, {"a": a, "b": b})

    found = run(tf.ones([2, 3]), tf.zeros([5, 3]))
    assert found["a"].shape == (2, 3) and found["b"].shape == (5, 3)
    np.testing.assert_array_equal(found["a"], 2 * np.ones([2, 3]))


@pytest.mark.parametrize(
    ("forward", "batches"),
    [(None, [["x", "u"]]), (forwards.Concatenated(), [["x", "u"]]), (forwards.Separate(), [["x"], ["u"]])],
)
def test_model_moves_the_statistics_as_its_forward_says(forward, batches):
    """The averages of a student that starts with batch normalisation show which batches were normalised together."""
    normalisation = keras.layers.BatchNormalization(momentum=0.5)
    student = keras.Sequential([keras.Input([3]), normalisation, keras.layers.Dense(2)])
    term = kc.Consistency(divergence=kc.divergences.Entropy())
    model = kc.ConsistencyModel(student, term, forward=forward)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    given = {"x": NUMBERS.normal(size=(4, 3)).astype("float32"), "u": NUMBERS.normal(2, size=(8, 3)).astype("float32")}
    model.train_on_batch({"labeled": given["x"], "unlabeled": given["u"]}, np.array([0, 1, 0, 1]))
    mean, variance = np.zeros(3), np.ones(3)
    for together in batches:
        _, batch_mean, batch_variance = normalised(*(given[key] for key in together))
        mean, variance = (mean + batch_mean) / 2, (variance + batch_variance) / 2
    np.testing.assert_allclose(normalisation.moving_mean, mean, atol=1e-5)
    np.testing.assert_allclose(normalisation.moving_variance, variance, atol=1e-5)
