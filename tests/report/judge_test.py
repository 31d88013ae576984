"""What answers of all kinds are worth, against counts made one by one."""

import math

import keras
import numpy as np
import pytest

from keras_consistency.report import judge
from keras_consistency.report.tallies import Classes, Values

COUNT = 300  # more than a batch


def verdict(x, y, function=lambda x: x, **options):
    data = judge.examples("validation_data", (x, y))
    return judge.judge(function, data, name="validation_data", **options)


def logits(*shape, seed=0):
    return np.random.default_rng(seed).normal(scale=3.0, size=shape).astype("float32")


def softmax(x):
    e = np.exp(x.astype("float64"))
    return e / e.sum(axis=-1, keepdims=True)


def counted(probabilities, labels, threshold):
    classes = probabilities.shape[-1]
    matrix, sure = np.zeros([classes, classes], int), np.zeros([classes, classes], int)
    for row, label in zip(probabilities.reshape(-1, classes), labels.ravel(), strict=True):
        if label == 255:
            continue
        matrix[label, np.argmax(row)] += 1
        sure[label, np.argmax(row)] += row.max() >= threshold
    return matrix, sure


@pytest.mark.parametrize("places", [(), (2, 3)])
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("labels", ["numbers", "column", "probabilities"])
def test_classes_are_counted(places, kind, labels):
    x = logits(COUNT, *places, 4)
    numbers = np.random.default_rng(1).integers(0, 4, [COUNT, *places])
    y = {"numbers": numbers, "column": numbers[..., np.newaxis], "probabilities": np.eye(4)[numbers]}[labels]
    found = verdict(x, y, softmax if kind == "probabilities" else (lambda x: x), threshold=0.8)
    matrix, sure = counted(softmax(x), numbers, 0.8)
    np.testing.assert_array_equal(found.matrix, matrix)
    np.testing.assert_array_equal(found.sure, sure)
    assert found.accuracy == np.mean(x.argmax(axis=-1) == numbers)
    assert found.shares() == (sure.sum() / matrix.sum(), np.trace(sure) / sure.sum())


def test_labels_that_the_loss_ignores_do_not_count():
    x, y = logits(COUNT, 5, 3), np.random.default_rng(1).integers(0, 3, [COUNT, 5])
    y[:, 0] = 255
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    found = verdict(x, y, loss=loss)
    np.testing.assert_array_equal(found.matrix, counted(softmax(x), y, 0.95)[0])


@pytest.mark.parametrize(
    ("loss", "function"),
    [
        (keras.losses.BinaryCrossentropy(from_logits=True), lambda x: x),
        ("binary_crossentropy", lambda x: 1 / (1 + np.exp(-x))),
    ],
)
def test_two_classes_may_have_one_output(loss, function):
    x, y = logits(COUNT, 1), np.random.default_rng(1).integers(0, 2, COUNT)
    found = verdict(x, y, function, loss=loss)
    expected = counted(np.concatenate([x < 0, x >= 0], axis=1).astype(float), y, 0.5)[0]
    np.testing.assert_array_equal(found.matrix, expected)


@pytest.mark.parametrize("shape", [(COUNT,), (COUNT, 1), (COUNT, 4)])
def test_numbers_are_judged_by_their_errors(shape):
    x, y = logits(*shape), logits(*shape, seed=1)
    found = verdict(x, y if shape != (COUNT, 1) else y[:, 0], loss="mse")
    assert isinstance(found, Values)
    gap = x.astype("float64") - y
    assert found.errors() == pytest.approx((np.abs(gap).mean(), math.sqrt((gap**2).mean())), rel=1e-9)
    assert len(found.points[0]) == min(x.size, 500)
    assert "Answers over labels" in found.validation(None)


def test_of_a_dictionary_one_output_is_judged():
    x, y = logits(COUNT, 3), np.random.default_rng(1).integers(0, 3, COUNT)
    outputs = {"a": lambda x: -x, "b": lambda x: x}

    def answers(x):
        return {name: function(x) for name, function in outputs.items()}

    assert verdict(x, y, answers, prediction="b").accuracy == np.mean(x.argmax(axis=1) == y)
    with pytest.raises(ValueError, match=r"`prediction` must name.*\['a', 'b'\]. Received: prediction=None"):
        verdict(x, y, answers)
    with pytest.raises(ValueError, match="several outputs must return them as a dictionary"):
        verdict(x, y, lambda x: [x, x])


def test_answers_that_are_not_finite_are_worth_nothing():
    x, y = logits(COUNT, 3), np.zeros(COUNT, int)
    x[-1, 0] = np.nan
    assert verdict(x, y) is None


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (logits(4, 3), np.array([0, 1, 2, 3]), "`validation_data` must hold as labels whole class numbers from 0 to 2"),
        (logits(4, 2, 3), np.zeros(4, int), r"`validation_data` must hold as labels class numbers \(4, 2\)"),
        (logits(4, 1), np.zeros([4, 2]), "`validation_data` must hold a number for each of the model's"),
        (logits(4, 3), np.zeros(5, int), "`validation_data` must hold inputs and labels of one length"),
    ],
)
def test_labels_that_do_not_fit(x, y, message):
    with pytest.raises(ValueError, match=message):
        verdict(x, y)


def test_many_classes_are_shown_by_what_is_taken_for_what():
    found = Classes(100, 0.5)
    probabilities = np.full([30, 100], 1e-3)
    probabilities[np.arange(30), np.r_[[7] * 20, [8] * 10]] = 0.9
    found.add(probabilities, np.full(30, 5))
    shown = found.validation([f"name {number}" for number in range(100)])
    assert shown.count("<figure") == 1 and shown.count("<tr>") == 3
    assert shown.index("name 7") < shown.index("name 8")
    table = found.pseudo_labels(None)
    assert table.count("<tr>") == 102
    assert "–" in table and "0.0 %" in table
