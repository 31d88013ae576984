import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_consistency import schedules
from tests.contracts import numpy_reference as reference


def cosine_ramp(step, steps):
    return 0.5 - np.cos(np.pi * min(step / steps, 1)) / 2 if steps else 1.0


RAMPS = [
    (schedules.LinearRampUp, reference.linear_ramp),
    (schedules.SigmoidRampUp, reference.sigmoid_ramp),
    (schedules.CosineRampUp, cosine_ramp),
]


@pytest.mark.parametrize(("ramp", "formula"), RAMPS)
@pytest.mark.parametrize("step", [0, 1, 37, 99, 100, 5000])
@pytest.mark.parametrize("value", [1.0, -2.5])
def test_ramp_equals_the_formula(ramp, formula, step, value):
    expected = value * formula(step, 100)
    found = ramp(steps=100, value=value)(tf.constant(step, tf.int64))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == tf.float32


@pytest.mark.parametrize(("ramp", "formula"), RAMPS)
@pytest.mark.parametrize("steps", [0, 100])
def test_ramp_is_zero_before_its_start_and_as_from_step_zero_after(ramp, formula, steps):
    schedule = ramp(steps=steps, value=-2.0, start=30)
    for step in (0, 29, 30, 31, 80, 129, 130, 500):
        expected = -2.0 * formula(step - 30, steps) if step >= 30 else 0.0
        np.testing.assert_allclose(schedule(tf.constant(step)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("ramp", "formula"), RAMPS)
def test_ramp_of_no_steps_is_done_at_once(ramp, formula):
    assert float(ramp(steps=0, value=3.0)(0)) == 3.0 == 3.0 * formula(0, 0)


def test_first_values_are_those_of_the_papers():
    assert float(schedules.LinearRampUp(steps=10)(0)) == 0.0
    np.testing.assert_allclose(schedules.SigmoidRampUp(steps=10)(0), np.exp(-5), rtol=1e-6)
    assert float(schedules.CosineRampUp(steps=10)(0)) == 0.0


@pytest.mark.parametrize("ramp", [ramp for ramp, _ in RAMPS])
def test_ramp_is_a_keras_schedule_and_survives_json(ramp):
    written = json.loads(json.dumps(keras.saving.serialize_keras_object(ramp(steps=10, value=4.0, start=1))))
    again = keras.saving.deserialize_keras_object(written)
    assert isinstance(again, keras.optimizers.schedules.LearningRateSchedule)
    np.testing.assert_allclose(again(3), ramp(steps=10, value=4.0)(2))
    assert again.get_config() == {"steps": 10, "value": 4.0, "start": 1}


def partial_cosine(step, steps=50, share=7 / 16):
    return 0.03 * math.cos(math.pi * share * min(step / steps, 1))


def one_cycle(step, steps=50, rise=0.3, start=25.0, end=1e4):
    """PyTorch's `OneCycleLR`, `anneal_strategy="cos"`: `_annealing_cos` over its two phases."""
    phases = [(0.0, rise * steps - 1, 2.0 / start, 2.0), (rise * steps - 1, steps - 1, 2.0, 2.0 / start / end)]
    first, last, a, b = phases[0] if step <= phases[0][1] else phases[1]
    return b + (a - b) / 2.0 * (1 + math.cos(math.pi * min((step - first) / (last - first), 1)))


FALLS = [
    (lambda **options: schedules.PartialCosine(**{"steps": 50, "value": 0.03, **options}), partial_cosine),
    (lambda **options: schedules.OneCycle(**{"steps": 50, "value": 2.0, **options}), one_cycle),
]


@pytest.mark.parametrize(("schedule", "formula"), FALLS, ids=["partial cosine", "one cycle"])
def test_fall_equals_the_formula(schedule, formula):
    for step in (0, 1, 13, 14, 15, 31, 48, 49, 50, 60, 10_000):
        found = schedule()(tf.constant(step, tf.int64))
        np.testing.assert_allclose(found, formula(step), rtol=2e-6, atol=1e-9)
        assert found.dtype == tf.float32 and found.shape == ()


def test_fall_with_other_options_equals_the_formula():
    for step in (0, 3, 11, 20, 30, 31, 49, 60):
        np.testing.assert_allclose(FALLS[0][0](share=0.5)(step), partial_cosine(step, share=0.5), rtol=2e-6, atol=1e-8)
        options = {"rise": 0.6, "start_divisor": 5.0, "end_divisor": 40.0}
        expected = one_cycle(step, rise=0.6, start=5.0, end=40.0)
        np.testing.assert_allclose(FALLS[1][0](**options)(step), expected, rtol=2e-6)


def test_values_of_the_papers():
    cosine, cycle = FALLS[0][0](), FALLS[1][0]()
    assert float(cosine(0)) == pytest.approx(0.03)
    assert float(cosine(50)) == float(cosine(51)) == pytest.approx(0.03 * 0.19509, rel=1e-4)
    assert [float(cycle(step)) for step in (0, 14, 49)] == pytest.approx([0.08, 2.0, 8e-6], rel=1e-5)


def test_cycle_that_is_too_short_to_rise_starts_at_the_top():
    for steps in (2, 3):
        cycle = schedules.OneCycle(steps=steps, value=2.0)
        assert [float(cycle(step)) for step in (0, steps - 1)] == pytest.approx([2.0, 8e-6], rel=1e-5)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.PartialCosine(steps=9, value=0.5, share=0.3),
        schedules.OneCycle(steps=9, value=0.5, rise=0.4, start_divisor=3.0, end_divisor=7.0),
    ],
    ids=lambda each: type(each).__name__,
)
def test_fall_is_a_keras_schedule_and_survives_the_saving_of_an_optimizer(schedule):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(keras.optimizers.SGD(schedule))))
    again = keras.saving.deserialize_keras_object(config)
    for step in (0, 3, 8):
        again.iterations.assign(step)
        np.testing.assert_array_equal(again.learning_rate, schedule(step))
    assert repr(schedule).startswith(f"{type(schedule).__name__}(steps=9, value=0.5, ")


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (2, 2.0),
        (-0.5, -0.5),
        (lambda step: step * 2, 14.0),
        (keras.optimizers.schedules.InverseTimeDecay(8.0, 1, 1.0), 1.0),
    ],
)
def test_value_at_takes_numbers_and_any_schedule(schedule, expected):
    found = schedules.value_at(schedule, tf.constant(7, tf.int64))
    assert found.dtype == tf.float32 and float(found) == expected


@pytest.mark.parametrize("steps", [-1, 1.5, None, True])
def test_length_out_of_range_is_refused(steps):
    with pytest.raises(ValueError, match="`steps` must be an integer of at least 0.*Received: steps="):
        schedules.LinearRampUp(steps=steps)


@pytest.mark.parametrize("start", [-1, 1.5, None, True])
def test_start_out_of_range_is_refused(start):
    with pytest.raises(ValueError, match="`start` must be an integer of at least 0.*Received: start="):
        schedules.CosineRampUp(steps=1, start=start)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1"])
def test_value_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match="`value` must be a number.*Received: value="):
        schedules.SigmoidRampUp(steps=1, value=value)


@pytest.mark.parametrize("steps", [0, -1, 1.5, None, True])
def test_length_of_a_fall_out_of_range_is_refused(steps):
    for schedule, minimum in ((schedules.PartialCosine, 1), (schedules.OneCycle, 2)):
        with pytest.raises(ValueError, match=f"`steps` must be an integer of at least {minimum}. Received: steps="):
            schedule(steps=steps, value=1.0)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "1", None])
def test_rate_out_of_range_is_refused(value):
    for schedule in (schedules.PartialCosine, schedules.OneCycle):
        with pytest.raises(ValueError, match=r"`value` must be a number in \[0, inf\). Received: value="):
            schedule(steps=5, value=value)


@pytest.mark.parametrize(
    ("schedule", "option", "values"),
    [
        (schedules.PartialCosine, "share", (0, 0.6, -0.1, "1")),
        (schedules.OneCycle, "rise", (0, 1, -0.1, "1")),
        (schedules.OneCycle, "start_divisor", (0, 0.9, float("inf"), "1")),
        (schedules.OneCycle, "end_divisor", (0, 0.9, float("inf"), "1")),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
def test_option_out_of_range_is_refused(schedule, option, values):
    for value in values:
        with pytest.raises(ValueError, match=f"`{option}` must be a number in .*Received: {option}="):
            schedule(steps=5, value=1.0, **{option: value})
