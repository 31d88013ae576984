import numpy as np
import pytest

from keras_consistency.stability.windows import Blocks, Rolling, Track

NUMBERS = np.random.default_rng(0).standard_cauchy(400).round(2)  # rounded, so that values occur twice


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_rolling_statistics_are_those_of_the_last_values(size):
    window = Rolling(size)
    for end, value in enumerate(NUMBERS.tolist(), 1):
        gone = window.push(value)
        last = NUMBERS[max(end - size, 0) : end]
        assert gone == (NUMBERS[end - size - 1] if end > size else None)
        assert (len(window), window.full) == (len(last), end >= size)
        assert window.median == pytest.approx(np.median(last), abs=1e-12)
        for share in (0.0, 0.05, 0.25, 0.9, 1.0):
            # The nearest value: it is one of the two that lie about the quantile.
            about = [np.quantile(last, share, method=method) for method in ("lower", "higher")]
            assert window.quantile(share) in about
        assert window.above(value) == (last > value).sum()
        assert window.below(value) == (last < value).sum()


def test_track_parts_recent_values_from_the_reference():
    track = Track(recent=3, reference=10, initial=4)
    for value in NUMBERS[:50].tolist():
        track.push(value)
    assert list(track.recent.values) == NUMBERS[47:50].tolist()
    assert list(track.reference.values) == NUMBERS[37:47].tolist()
    assert track.initial == pytest.approx(np.median(NUMBERS[:4]))
    medians = np.median(np.lib.stride_tricks.sliding_window_view(NUMBERS[:50], 25), axis=1)
    assert (track.lowest, track.highest) == (medians.min(), medians.max())


def test_blocks_hold_the_whole_course_in_few_levels():
    values = np.random.default_rng(1).normal(size=25 * 64 * 3)
    blocks = Blocks()
    completed = sum(blocks.push(value) for value in values.tolist())
    assert blocks.steps == 100
    assert len(blocks.levels) == 48 < blocks.most
    medians = np.median(values.reshape(-1, 25), axis=1)
    np.testing.assert_allclose(blocks.levels, medians.reshape(-1, 4).mean(axis=1), rtol=1e-12, atol=1e-12)
    assert completed == 64 + 32 + 16
