import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_consistency as kc
from keras_consistency.evaluation.calibration import Tally

NUMBERS = np.random.default_rng(0)


def drawn(examples, classes=4, sharpness=3.0):
    """Class probabilities float32, and labels that are more often right than not."""
    logits = NUMBERS.normal(size=(examples, classes)) * sharpness
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right = NUMBERS.uniform(size=examples) < 0.6
    labels = np.where(right, probabilities.argmax(axis=1), NUMBERS.integers(classes, size=examples))
    return probabilities.astype("float32"), labels


def reference_ece(probabilities, labels, bins):
    """Equation 3 of Guo et al., bin by bin."""
    confidence, total = probabilities.max(axis=1).astype("float64"), 0.0
    for m in range(1, bins + 1):
        inside = ((m - 1) / bins < confidence) & (confidence <= m / bins)
        if inside.any():
            accuracy = (probabilities.argmax(axis=1) == labels)[inside].mean()
            total += inside.sum() / len(labels) * abs(accuracy - confidence[inside].mean())
    return total


def answering(probabilities, *, logits=True):
    """A model that gives the probabilities of the example whose number it is shown."""
    table = np.log(probabilities) + 2.5 if logits else probabilities
    inputs = keras.Input([1])
    layer = keras.layers.Embedding(*table.shape, trainable=False)
    outputs = keras.layers.Reshape([table.shape[1]])(layer(inputs))
    model = keras.Model(inputs, outputs)
    layer.set_weights([table])
    return model, np.arange(len(table), dtype="float32")[:, None]


@pytest.mark.parametrize("bins", [1, 2, 7, 15, 100])
@pytest.mark.parametrize("examples", [1, 13, 500])
def test_calibration_error_is_that_of_guo_et_al(bins, examples):
    probabilities, labels = drawn(examples)
    tally = Tally(bins)
    for rows in np.array_split(np.arange(examples), 4):  # some of them empty
        tally.add(probabilities[rows], labels[rows])
    assert tally.record()["ece"] == pytest.approx(reference_ece(probabilities, labels, bins), abs=1e-12)
    assert tally.record()["accuracy"] == pytest.approx((probabilities.argmax(axis=1) == labels).mean())


def test_calibration_error_of_a_case_done_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.25, 0.75], [0.4, 0.6], [0.55, 0.45]])
    tally = Tally(5)
    tally.add(probabilities, np.array([0, 1, 1, 0, 0]))
    # In (0.4, 0.6]: 0.6 wrong, 0.55 right. In (0.6, 0.8]: 0.8 wrong, 0.75 right. In (0.8, 1]: 0.9 right.
    assert tally.record()["ece"] == pytest.approx((abs(1 - 1.15) + abs(1 - 1.55) + abs(1 - 0.9)) / 5)


def test_certainty_falls_into_the_last_bin():
    tally = Tally(10)
    tally.add(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
    assert tally.examples.tolist() == [0] * 9 + [2]
    assert tally.record()["ece"] == 0.5


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("batch_size", [7, 64])
def test_table_of_a_model_holds_the_means_of_each_bin(logits, batch_size):
    probabilities, labels = drawn(40)
    model, x = answering(probabilities, logits=logits)
    table = kc.evaluation.calibration(model, (x, labels), from_logits=logits, bins=5, batch_size=batch_size)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    for row, (low, high) in zip(table, [(0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1)], strict=True):
        inside = (low < confidence) & (confidence <= high)
        assert (row["low"], row["high"], row["examples"]) == pytest.approx((low, high, inside.sum()))
        if inside.any():
            assert row["confidence"] == pytest.approx(confidence[inside].mean(), abs=1e-6)
            assert row["accuracy"] == pytest.approx(right[inside].mean())
        else:
            assert row["confidence"] is row["accuracy"] is None


def test_data_sets_and_probabilities_as_labels_give_the_same_table():
    probabilities, labels = drawn(30)
    model, x = answering(probabilities)
    expected = kc.evaluation.calibration(model, (x, labels))
    one_hot = np.eye(4)[labels]
    for given in ((x, one_hot), (x, labels[:, None]), (x, labels.astype("float64"))):
        assert kc.evaluation.calibration(model, given) == expected
    batches = tf.data.Dataset.from_tensor_slices((x, one_hot)).batch(11)
    found = kc.evaluation.calibration(model, batches)
    assert [row["examples"] for row in found] == [row["examples"] for row in expected]
    assert found[-1]["confidence"] == pytest.approx(expected[-1]["confidence"])


def test_bins_are_counted_from_one():
    with pytest.raises(ValueError, match="`bins` must be an integer of at least 1. Received: bins=0"):
        kc.evaluation.calibration(keras.Sequential(), ([[0]], [0]), bins=0)
