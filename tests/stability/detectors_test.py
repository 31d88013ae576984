import collections
import copy
import itertools
import math
import pickle

import numpy as np
import pytest

from keras_consistency.stability import ADVICE, CAUSES, Detectors
from keras_consistency.stability.windows import Rolling

ONSET = 400
EVERYTHING = {
    "loss": 1.0,
    "supervised_loss": 1.0,
    "u_loss": 0.1,
    "u_mask_rate": 0.5,
    "u_agreement": 0.9,
    "gradient_norm": 1.0,
    "update_ratio": 1e-3,
    "learning_rate": 0.1,
    "top_class_share": 0.2,
    "teacher_distance": 0.1,
    "finite": 1.0,
}


def course(steps=ONSET + 100, *, scale=1.0, seed=0):
    """Records of a healthy training: the loss falls to a tenth, the gradient to a third."""
    numbers = np.random.default_rng(seed)
    mean = 0.1 + 0.9 * np.exp(-np.arange(steps) / 80)
    noise = np.exp(0.1 * numbers.standard_t(3, (2, steps)))
    return [
        {
            "loss": float(scale * loss),
            "gradient_norm": float(norm),
            "update_ratio": 1e-3,
            "learning_rate": 0.1,
            "top_class_share": 0.2,
            "u_agreement": 0.9,
            "teacher_distance": 0.1,
        }
        for loss, norm in zip(mean * noise[0], np.sqrt(mean) * noise[1], strict=True)
    ]


def changed(records, **functions):
    """The same records, where from `ONSET` on a signal is a function of its value and of the steps since."""
    for since, record in enumerate(records[ONSET - 1 :]):
        for name, function in functions.items():
            record[name] = float(function(record[name], since))
    return records


def contents(value):
    """All that an object holds, to compare."""
    if isinstance(value, Rolling):
        return list(value.values), value.ordered
    if hasattr(value, "__dict__"):
        return type(value).__name__, contents(vars(value))
    if isinstance(value, dict):
        return {name: contents(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, collections.deque)):
        return [contents(each) for each in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def events(records, detectors=None, first=1):
    detectors = detectors or Detectors()
    return list(itertools.chain(*(detectors.update(step, record) for step, record in enumerate(records, first))))


TROUBLES = {
    "not finite": ("not_finite", {"loss": lambda x, since: math.nan}),
    "loss jumps": ("loss_spike", {"loss": lambda x, since: 8 * x}),
    "loss climbs": ("loss_spike", {"loss": lambda x, since: x * 1.06 ** min(since, 50)}),
    "loss swings, period 2": ("oscillation", {"loss": lambda x, since: x + 0.6 * (since % 2)}),
    "loss swings, period 3": ("oscillation", {"loss": lambda x, since: x + 0.7 * (since % 3 == 0)}),
    "loss swings, period 8": ("oscillation", {"loss": lambda x, since: x + 0.3 - 0.3 * math.cos(since * math.pi / 4)}),
    "agreement falls": ("teacher_divergence", {"u_agreement": lambda x, since: 0.3}),
    "teacher leaves": ("teacher_divergence", {"teacher_distance": lambda x, since: x + 0.01 * since}),
    "one class": ("collapse", {"top_class_share": lambda x, since: min(0.2 + 0.05 * since, 1.0)}),
    "gradient explodes": ("exploding_gradient", {"gradient_norm": lambda x, since: x * 1.3 ** min(since, 40)}),
    "one gradient": ("exploding_gradient", {"gradient_norm": lambda x, since: x * (1e5 if since == 0 else 1)}),
    "large updates": ("exploding_gradient", {"update_ratio": lambda x, since: 0.3}),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_trouble_makes_one_event_within_fifty_steps_at_every_scale(trouble, scale):
    cause, functions = TROUBLES[trouble]
    # Functions of the loss that add something are meant for a loss that begins at 1.
    unscaled = {
        name: (lambda x, since, f=f: scale * f(x / scale, since)) if name == "loss" else f
        for name, f in functions.items()
    }
    found = events(changed(course(scale=scale), **unscaled))
    named = [event for event in found if event.cause == cause]
    assert len(named) == 1, found
    assert all(event.step >= ONSET for event in found)
    (event,) = named
    # A slow swing is a jump at first; to be told from it, it has to go on.
    assert ONSET <= event.step <= ONSET + (60 if trouble == "loss swings, period 8" else 50)
    assert event.advice == ADVICE[cause]
    assert event.signal in functions
    assert event.evidence.endswith(".") and any(digit.isdigit() for digit in event.evidence) or cause == "not_finite"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_healthy_training_makes_no_event(seed, scale):
    assert events(course(3000, scale=scale, seed=seed)) == []


def test_vanishing_gradient_is_told_from_convergence():
    def fading(floor):
        numbers = np.random.default_rng(0)
        mean = floor + (1 - floor) * np.exp(-np.arange(500) / 60)
        loss = mean * np.exp(0.05 * numbers.normal(size=500))
        norm = np.maximum(0.96 ** np.arange(500), 1e-6)
        return [{"loss": float(a), "gradient_norm": float(b)} for a, b in zip(loss, norm, strict=True)]

    assert events(fading(0.01)) == []
    (event,) = events(fading(0.8))
    below = 1 + math.ceil(math.log(1e-3) / math.log(0.96))
    assert event.cause == "vanishing_gradient" and below <= event.step <= below + 50


def test_updates_below_the_resolution_of_float32_are_found_where_the_rate_is_not_low():
    stuck = [{"loss": 2.3, "update_ratio": 1e-9, "learning_rate": 0.1}] * 60
    assert [event.cause for event in events(stuck)] == ["vanishing_gradient"]
    assert events([{**record, "learning_rate": 0.001 * step} for step, record in enumerate(stuck)]) == []
    over = [{**stuck[0], "learning_rate": 1e-6}] * 60
    assert events([{**stuck[0], "update_ratio": 1e-3}] * 30 + over) == []


def test_plateau_is_told_from_a_low_loss_and_from_the_end_of_a_schedule():
    def flat(level, rate=lambda step: 0.1):
        numbers = np.random.default_rng(0)
        means = np.maximum(1 - np.arange(1500) / 300, level)
        noise = np.exp(0.1 * numbers.normal(size=1500))
        return [
            {"loss": float(loss), "learning_rate": rate(step)} for step, loss in enumerate((means * noise).tolist())
        ]

    (event,) = events(flat(0.6))
    flat_from = 300 * 0.4
    assert event.cause == "plateau" and flat_from + 300 <= event.step <= flat_from + 600
    assert events(flat(0.05)) == []
    assert events(flat(0.6, rate=lambda step: 0.1 if step < 300 else 0.001)) == []
    (later,) = events(flat(0.6), Detectors(plateau_steps=1000))
    assert later.step > event.step + 300


def test_loss_that_falls_slowly_is_no_plateau():
    numbers = np.random.default_rng(0)
    loss = 3.0 - 3e-4 * np.arange(6000) + 0.1 * numbers.normal(size=6000)
    assert events([{"loss": float(value)} for value in loss]) == []


def test_rate_that_restarts_may_raise_the_loss():
    records = course(1000)
    for since, record in enumerate(records[500:]):
        record["loss"] += 0.25 * math.exp(-since / 40)
    assert [event.cause for event in events([dict(record) for record in records])] == ["loss_spike"]
    for step, record in enumerate(records):
        record["learning_rate"] = 0.1 * (1.001 - step % 500 / 500)
    assert events(records) == []


def test_scale_of_a_term_may_grow():
    records = course(1000)
    for step, record in enumerate(records):
        record["supervised_loss"] = record["loss"]
        record["u_loss"] = 0.1
        record["loss"] += 50.0 * min(step / 500, 1) * 0.1
        record["u_mask_rate"] = 0.9 * min(step / 800, 1)
    assert events(records) == []


def test_data_of_mostly_one_class_are_no_collapse():
    numbers = np.random.default_rng(0)
    records = course(1000)
    for step, record in enumerate(records):
        start = 0.5 if step < 20 else 1.0 if step < 150 else 0.88
        record["top_class_share"] = float(min(start + 0.04 * numbers.normal(), 1.0))
    assert events(records) == []


def test_answers_of_one_class_since_the_start_are_a_collapse():
    numbers = np.random.default_rng(0)
    records = [{"loss": 2.3 + 0.02 * float(x), "top_class_share": 1.0} for x in numbers.normal(size=300)]
    assert [event.cause for event in events(records)] == ["collapse"]


def test_student_that_runs_ahead_of_its_average_is_no_divergence():
    records = course(600)
    for step, record in enumerate(records):
        record["u_agreement"] = 0.95 - 0.6 * (1 - math.exp(-step / 60)) * math.exp(-step / 200)
        record["teacher_distance"] = 0.8 * (1 - math.exp(-step / 300))
        record["update_ratio"] = 0.01 * math.exp(-step / 300)
    assert events(records) == []


def epochs(values, detectors=None, **more):
    detectors = detectors or Detectors()
    found = []
    for number, value in enumerate(values, 1):
        logs = {"loss": 1.0 / number, "val_loss": value, **{name: each[number - 1] for name, each in more.items()}}
        found += [(number, event.cause) for event in detectors.update_epoch(100 * number, logs)]
    return found


FALLING = [2.0, 1.5, 1.2, 1.1, 1.0, 0.95]


def test_overfitting_is_found_after_patience():
    rising = [*FALLING, 1.05, 1.15, 1.25, 1.35, 1.45, 1.6, 1.8]
    assert epochs(rising) == [(10, "overfitting")]
    assert epochs(rising, Detectors(patience=6)) == [(12, "overfitting")]
    assert epochs([1000 * value for value in rising]) == [(10, "overfitting")]
    better = [0.5 + 0.02 * number for number in range(len(rising))]
    assert epochs(rising, val_accuracy=better) == []
    assert epochs(rising, val_accuracy=better[:6] + better[5:6] * 7) == [(10, "overfitting")]
    assert epochs(rising, loss=[3.0 - each if each > 1.3 else each for each in rising]) != []
    both = epochs(rising, loss=rising)  # something else is wrong
    assert "overfitting" not in [cause for _, cause in both]


def test_validation_loss_that_wavers_is_no_overfitting():
    numbers = np.random.default_rng(0)
    wavering = 0.95 + 0.04 * np.abs(numbers.normal(size=60))
    assert epochs([*FALLING, *wavering.tolist()]) == []


def test_plateau_is_found_in_epochs_where_there_are_no_steps():
    flat = [2.0, 1.8, *[1.6] * 20]
    found = epochs(flat, loss=flat)
    assert found == [(9, "plateau")]


def test_event_comes_again_only_after_its_condition_was_gone_for_the_cooldown():
    records = course(1400)
    for start in (300, 350, 800):
        for record in records[start : start + 12]:
            record["gradient_norm"] *= 1e4
    assert [event.step for event in events(records)] == [301, 801]


def test_reaction_that_did_not_help_makes_a_new_event():
    stuck = [{"loss": math.nan}] * 500
    detectors = Detectors(cooldown=100)
    (event,) = events(stuck[:50], detectors)
    assert events(stuck[:150], detectors, 51) == []
    detectors.reset_after(event)
    (again,) = events(stuck[:150], detectors, 201)
    assert (event.step, again.step) == (1, 300)


@pytest.mark.parametrize("target", [ONSET - 20, 2100])
def test_rewind_restores_the_state_after_a_step(target):
    start = target + 20
    records = course(start + 200)
    for record in records[start:]:
        record["loss"] *= 20
        record["gradient_norm"] *= 100
    detectors = Detectors()
    events(records[:target], detectors)
    detectors.update_epoch(target, {"val_loss": 1.0})
    state = copy.deepcopy(contents(detectors._state))
    first = events(records[target:], detectors, target + 1)
    assert {event.cause for event in first} == {"loss_spike", "exploding_gradient"}
    detectors.rewind(target)
    assert contents(detectors._state) == state
    assert events(records[target:], detectors, target + 1) == first


def test_rewind_beyond_what_is_kept_starts_from_an_earlier_state():
    detectors = Detectors()
    events(course(6000), detectors)
    detectors.rewind(1500)
    assert detectors._state.step is not None and detectors._state.step <= 1500
    detectors.update(1501, EVERYTHING)
    detectors.rewind(0)
    assert detectors._state.step is None
    detectors.update(1, EVERYTHING)


def test_memory_is_constant():
    detectors, sizes = Detectors(), []
    records = course(500)
    for step in range(1, 20001):
        detectors.update(step, records[step % 500])
        if step % 5000 == 0:
            sizes.append(len(pickle.dumps(detectors)))
    assert max(sizes[1:]) < 1.2 * sizes[0] + 100_000
    assert len(detectors._log) <= 2000


def test_step_that_a_loss_scale_skips_is_no_trouble():
    records = course(300)
    for step, record in enumerate(records):
        record["finite"] = 1
        if step in (0, 1, 2, 100, 101):
            record |= {"gradient_norm": math.inf, "update_ratio": 0.0}
    assert events(records) == []
    records[200]["finite"] = 0
    (event,) = events(records)
    assert (event.cause, event.step, event.signal) == ("not_finite", 201, "finite")
    forever = [{**record, "gradient_norm": math.nan, "finite": 1} for record in course(300)]
    assert [event.step for event in events(forever)] == [20]


def test_missing_names_what_cannot_be_found():
    detectors = Detectors()
    assert set(detectors.missing()) == set(CAUSES)
    detectors.update(1, {"loss": 1.0})
    missing = detectors.missing()
    assert set(missing) == {
        "teacher_divergence",
        "collapse",
        "vanishing_gradient",
        "exploding_gradient",
        "overfitting",
    }
    assert "`gradient_norm` or `update_ratio`" in missing["exploding_gradient"]
    assert "validation data" in missing["overfitting"]
    detectors.update(2, EVERYTHING)
    detectors.update_epoch(2, {"val_loss": 1.0})
    assert detectors.missing() == {}


@pytest.mark.parametrize("absent", sorted(EVERYTHING))
def test_any_signal_may_be_missing(absent):
    records = [{name: value for name, value in EVERYTHING.items() if name != absent} for _ in range(300)]
    assert events(records) == []
    assert events([{} for _ in range(5)]) == []


def test_sensitivity_finds_smaller_troubles():
    def small():
        return changed(course(), loss=lambda x, since: x + 0.15)

    assert events(small()) == []
    assert [event.cause for event in events(small(), Detectors(sensitivity=2.0))] == ["loss_spike"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sensitivity": 0}, r"`sensitivity` must be a number in \[0.25, 4\]. Received: sensitivity=0"),
        ({"patience": 0}, "`patience` must be an integer of at least 1. Received: patience=0"),
        ({"plateau_steps": 10}, "`plateau_steps` must be an integer of at least 100. Received: plateau_steps=10"),
        ({"cooldown": 1.5}, "`cooldown` must be an integer of at least 1. Received: cooldown=1.5"),
    ],
)
def test_argument_outside_its_range_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Detectors(**arguments)


def test_step_that_does_not_come_after_the_last_is_an_error():
    detectors = Detectors()
    detectors.update(5, {"loss": 1.0})
    with pytest.raises(ValueError, match=r"`step` must be greater than the last one, 5; .*Received: step=5"):
        detectors.update(5, {"loss": 1.0})
