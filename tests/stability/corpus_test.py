import numpy as np
import pytest

from benchmarks import stability_histories, stability_judge
from keras_consistency.stability import CAUSES

RECORDED = stability_histories.recorded()
# A few of the synthetic ones, of both halves; `python -m benchmarks.stability` takes many.
SYNTHETIC = [stability_histories.synthetic(cause, seed) for cause in stability_histories.TROUBLES for seed in (0, 1)]
SYNTHETIC += [stability_histories.synthetic(None, seed) for seed in range(6)]


def figures(histories):
    table, listed = stability_judge.table(histories)
    return table, f"{listed}"


def test_corpus_has_every_cause_in_both_halves():
    assert len(RECORDED) >= 40
    for held_out in (False, True):
        names = {each.cause for each in [*RECORDED, *SYNTHETIC] if each.held_out == held_out}
        assert names == {None, *CAUSES}
    for history in RECORDED:
        assert history.cause is None or 0 < history.onset <= len(history.records), history.name


def test_troubles_of_recorded_trainings_are_found_within_fifty_steps():
    table, listed = figures(RECORDED)
    row = table["causes"]["all"]
    assert row["troubles"] >= 20
    assert row["found"] / row["troubles"] >= 0.9, listed


def test_healthy_steps_of_recorded_trainings_make_no_more_than_a_few_events():
    # One in 10,000 steps is what is aimed at, which these are too few steps to measure.
    table, listed = figures(RECORDED)
    assert table["healthy_steps"] > 20_000
    assert table["false_alarms"] <= 3, listed


def test_troubles_of_synthetic_histories_are_found_and_healthy_ones_left_alone():
    table, listed = figures(SYNTHETIC)
    row = table["causes"]["all"]
    assert row["found"] / row["troubles"] >= 0.9, listed
    assert table["false_alarms_per_10000"] <= 1, listed


def test_synthetic_history_is_a_function_of_its_seed():
    first, again, other = (stability_histories.synthetic("loss_spike", seed) for seed in (3, 3, 5))
    assert first == again
    assert first.records != other.records


def test_onset_of_a_loss_that_leaves_its_course():
    falling = np.linspace(2.0, 1.0, 100)
    rising = np.linspace(1.0, 2.0, 100)
    # A tenth of the fall above the lowest, a tenth of the way up; medians of 9 shift neither line.
    onset = stability_histories.leaving_onset(np.concatenate([falling, rising]).tolist())
    assert onset == pytest.approx(111, abs=3)
    assert stability_histories.leaving_onset(falling.tolist()) == 101


def test_onset_of_overfitting_and_of_a_plateau():
    losses = [2.0, 1.5, 1.0, 0.9, 1.0, 1.0, 1.0, 1.1, 1.2, 1.3]
    epochs = [(10 * number, {"val_loss": loss}) for number, loss in enumerate(losses, 1)]
    # The lowest mean of three is that about the fourth epoch; four later, the loss is a tenth of 1.1 higher.
    assert stability_histories.overfitting_onset(epochs) == 80
    assert stability_histories.overfitting_onset(epochs[:6]) == 61
    assert stability_histories.plateau_onset(100) == 600
    assert stability_histories.plateau_onset(7000) == 10_000
