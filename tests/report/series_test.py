"""Curves in constant memory: right means, extremes and steps, however long the training."""

import numpy as np
import pytest

from keras_consistency.report.series import Series


def filled(values, points=250):
    series = Series(points)
    for step, value in enumerate(values, start=1):
        series.add(step, value)
    return series


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 12, 13, 39, 40, 41, 1000])
def test_runs_are_means_and_extremes_of_equally_many_steps(count):
    values = np.random.default_rng(0).normal(size=count)
    series = filled(values.tolist(), points=5)
    length = 1
    while -(-count // length) > 10:
        length *= 2
    runs = [values[start : start + length] for start in range(0, count, length)]
    steps, means, least, most = series.curve()
    assert steps == [min(start + length, count) for start in range(0, count, length)]
    np.testing.assert_allclose(means, [run.mean() for run in runs], rtol=1e-12, atol=1e-12)
    assert least == [run.min() for run in runs]
    assert most == [run.max() for run in runs]


def test_memory_does_not_grow():
    series = filled(range(100_000))
    assert 250 <= len(series) <= 500
    assert series.curve()[0][-1] == 100_000
    assert len(filled([float("nan")] * 1000).not_finite) == 100


def test_values_that_are_not_finite_are_left_out_and_known():
    series = filled([1.0, float("nan"), 3.0, float("inf")])
    assert series.curve()[:2] == [[1, 3], [1.0, 3.0]]
    assert series.not_finite == [2, 4]


def test_points_outside_their_range():
    with pytest.raises(ValueError, match="`points` must be an integer of at least 1"):
        Series(0)
