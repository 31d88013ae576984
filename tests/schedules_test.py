import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_consistency import schedules
from tests.contracts import numpy_reference as reference

RAMPS = [(schedules.LinearRampUp, reference.linear_ramp), (schedules.SigmoidRampUp, reference.sigmoid_ramp)]


@pytest.mark.parametrize(("ramp", "formula"), RAMPS)
@pytest.mark.parametrize("step", [0, 1, 37, 99, 100, 5000])
@pytest.mark.parametrize("value", [1.0, -2.5])
def test_ramp_equals_the_formula(ramp, formula, step, value):
    expected = value * formula(step, 100)
    found = ramp(steps=100, value=value)(tf.constant(step, tf.int64))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == tf.float32


@pytest.mark.parametrize(("ramp", "formula"), RAMPS)
def test_ramp_of_no_steps_is_done_at_once(ramp, formula):
    assert float(ramp(steps=0, value=3.0)(0)) == 3.0 == 3.0 * formula(0, 0)


def test_first_values_are_those_of_the_papers():
    assert float(schedules.LinearRampUp(steps=10)(0)) == 0.0
    np.testing.assert_allclose(schedules.SigmoidRampUp(steps=10)(0), np.exp(-5), rtol=1e-6)


@pytest.mark.parametrize("ramp", [schedules.LinearRampUp, schedules.SigmoidRampUp])
def test_ramp_is_a_keras_schedule_and_survives_json(ramp):
    written = json.loads(json.dumps(keras.saving.serialize_keras_object(ramp(steps=10, value=4.0))))
    again = keras.saving.deserialize_keras_object(written)
    assert isinstance(again, keras.optimizers.schedules.LearningRateSchedule)
    np.testing.assert_allclose(again(3), ramp(steps=10, value=4.0)(3))
    assert again.get_config() == {"steps": 10, "value": 4.0}


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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1"])
def test_value_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match="`value` must be a number.*Received: value="):
        schedules.SigmoidRampUp(steps=1, value=value)
