"""Values that change with the step: `step -> value`, for the scale of a term or anything else that ramps.

Keras's own `keras.optimizers.schedules` and plain numbers can be given wherever one of these can.
"""

import keras
import tensorflow as tf

from keras_consistency.parts import check_count, check_range


class _RampUp(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, *, steps, value=1.0):
        check_count("steps", steps, minimum=0)
        check_range("value", value, float("-inf"), float("inf"), open_low=True, open_high=True)
        self.steps = steps
        self.value = value

    def progress(self, step):
        """Share of the ramp that is done, float32 in [0, 1]."""
        if self.steps == 0:
            return tf.constant(1.0)
        return tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0)

    def get_config(self):
        return {"steps": self.steps, "value": self.value}

    def __repr__(self):
        return f"{type(self).__name__}(steps={self.steps!r}, value={self.value!r})"


@keras.saving.register_keras_serializable(package="keras_consistency")
class LinearRampUp(_RampUp):
    """Rises linearly from 0 to `value`: `value * min(step / steps, 1)`.

    Args:
        steps: length of the ramp in optimizer steps; 0 for no ramp.
        value: the value after the ramp.
    """

    def __call__(self, step):
        return self.value * self.progress(step)


@keras.saving.register_keras_serializable(package="keras_consistency")
class SigmoidRampUp(_RampUp):
    """Rises like a sigmoid from `value * exp(-5)` to `value`: `value * exp(-5 (1 - min(step / steps, 1))^2)`.

    Args:
        steps: length of the ramp in optimizer steps; 0 for no ramp.
        value: the value after the ramp.

    References:
        - S. Laine, T. Aila, [Temporal ensembling for semi-supervised learning](https://arxiv.org/abs/1610.02242), 2017,
          section 3.1.
    """

    def __call__(self, step):
        return self.value * tf.exp(-5.0 * (1.0 - self.progress(step)) ** 2)


def value_at(schedule, step):
    """The value of a number or a schedule at a step, as a float32 scalar."""
    return tf.cast(schedule(step) if callable(schedule) else schedule, tf.float32)
