"""`labeled_indices`: the few labels that stay."""

import numpy as np
import pytest

from keras_consistency import datasets

Y = np.arange(100) % 7


def test_each_class_keeps_its_number_of_labels():
    rows = datasets.labeled_indices(Y, 4, seed=0)
    assert np.bincount(Y[rows]).tolist() == [4] * 7
    assert len(set(rows)) == 28
    assert (np.diff(rows) > 0).all()


def test_a_seed_fixes_the_draw_on_every_machine():
    assert datasets.labeled_indices(np.arange(12) % 2, 3, seed=0).tolist() == [1, 2, 3, 6, 8, 11]
    assert datasets.labeled_indices(Y, 4, seed=1).tolist() != datasets.labeled_indices(Y, 4, seed=2).tolist()


def test_every_example_can_be_drawn():
    drawn = {row for seed in range(200) for row in datasets.labeled_indices(Y, 1, seed=seed).tolist()}
    assert drawn == set(range(100))


@pytest.mark.parametrize(
    "y, per_class, words",
    [
        (Y, 15, "at most 14.*class, 2"),
        (Y, 0, "`per_class`"),
        (Y, 1.5, "`per_class`"),
        (np.eye(3), 1, "`y` must be class numbers"),
        ([0.0, 1.0], 1, "`y` must be class numbers"),
        ([], 1, "`y` must be class numbers"),
    ],
)
def test_bad_requests_are_told(y, per_class, words):
    with pytest.raises(ValueError, match=words):
        datasets.labeled_indices(y, per_class, seed=0)
