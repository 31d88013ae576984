"""Values that change with the step: `step -> value`, for the scale of a term or anything else that ramps.

Keras's own `keras.optimizers.schedules` and plain numbers can be given wherever one of these can. All are Keras
schedules themselves, so that an optimizer takes them too, and `kc.callbacks.LearningRate`.
"""

import inspect
import math

import keras
import tensorflow as tf

from keras_consistency.parts import check_count, check_range


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Keeps each constructor argument as an attribute of the same name."""

    def get_config(self):
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_config().items())})"


class _RampUp(_Schedule):
    def __init__(self, *, steps, value=1.0, start=0):
        check_count("steps", steps, minimum=0)
        check_count("start", start, minimum=0)
        check_range("value", value, float("-inf"), float("inf"), open_low=True, open_high=True)
        self.steps = steps
        self.value = value
        self.start = start

    def share(self, progress):
        """Share of the value that is reached, for the share of the ramp that is done, both float32 in [0, 1]."""
        raise NotImplementedError

    def __call__(self, step):
        since = tf.cast(step, tf.float32) - self.start
        progress = tf.minimum(since / self.steps, 1.0) if self.steps else tf.ones_like(since)
        return self.value * tf.where(since >= 0.0, self.share(progress), 0.0)


@keras.saving.register_keras_serializable(package="keras_consistency")
class LinearRampUp(_RampUp):
    """Rises linearly from 0 to `value`: `value * min((step - start) / steps, 1)`.

    Args:
        steps: length of the ramp in optimizer steps; 0 for no ramp.
        value: the value after the ramp.
        start: the step at which the ramp begins; the value is 0 before it.
    """

    def share(self, progress):
        return progress


@keras.saving.register_keras_serializable(package="keras_consistency")
class SigmoidRampUp(_RampUp):
    """Rises like a sigmoid from `value * exp(-5)` to `value`: `value * exp(-5 (1 - t)^2)`, `t = min((step - start)
    / steps, 1)`.

    Args:
        steps: length of the ramp in optimizer steps; 0 for no ramp.
        value: the value after the ramp.
        start: the step at which the ramp begins; the value is 0 before it.

    References:
        - S. Laine, T. Aila, [Temporal ensembling for semi-supervised learning](https://arxiv.org/abs/1610.02242), 2017,
          section 3.1.
    """

    def share(self, progress):
        return tf.exp(-5.0 * (1.0 - progress) ** 2)


@keras.saving.register_keras_serializable(package="keras_consistency")
class CosineRampUp(_RampUp):
    """Rises like half a cosine wave from 0 to `value`: `value * (1 - cos(pi t)) / 2`, `t = min((step - start) / steps,
    1)`.

    Args:
        steps: length of the ramp in optimizer steps; 0 for no ramp.
        value: the value after the ramp.
        start: the step at which the ramp begins; the value is 0 before it.

    References:
        - D. Berthelot et al., [AdaMatch: a unified approach to semi-supervised learning and domain adaptation](
          https://arxiv.org/abs/2106.04732), 2022, section 3.5.
    """

    def share(self, progress):
        return tf.sin(math.pi / 2.0 * progress) ** 2  # the same, and exact near 0


@keras.saving.register_keras_serializable(package="keras_consistency")
class PartialCosine(_Schedule):
    """Falls along the first part of a cosine wave, and not to 0: `value * cos(pi * share * min(step / steps, 1))`.

    With `share=7 / 16` it is the learning rate of FixMatch and most of its successors, which ends at 0.195 of the
    first. For the half wave that ends at 0 take `keras.optimizers.schedules.CosineDecay`.

    Args:
        steps: the step at which it has fallen, and from which on it stays; at least 1.
        value: the value at step 0.
        share: how much of half a wave it falls along, in (0, 0.5].

    References:
        K. Sohn et al., [FixMatch: simplifying semi-supervised learning with consistency and confidence](
        https://arxiv.org/abs/2001.07685), 2020, section 2.4: `eta cos(7 pi k / (16 K))`.
    """

    def __init__(self, *, steps, value, share=7 / 16):
        check_count("steps", steps)
        check_range("value", value, 0, float("inf"), open_high=True)
        check_range("share", share, 0, 0.5, open_low=True)
        self.steps = steps
        self.value = value
        self.share = share

    def __call__(self, step):
        progress = tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0)
        return self.value * tf.cos(math.pi * self.share * progress)


@keras.saving.register_keras_serializable(package="keras_consistency")
class OneCycle(_Schedule):
    """Rises from `value / start_divisor` to `value`, then falls to `value / start_divisor / end_divisor`, each along
    half a cosine wave.

    The steps are counted as by PyTorch's `OneCycleLR` with its cosine annealing, so that the rates are the same: the
    highest at step `rise * steps - 1`, the lowest at `steps - 1` and after it. Momentum is not touched.

    Args:
        steps: length of the cycle in optimizer steps; at least 2.
        value: the highest rate.
        rise: share of the steps in which the rate rises, in (0, 1).
        start_divisor: what the highest rate is divided by to give the first, at least 1.
        end_divisor: what the first rate is divided by to give the last, at least 1.

    References:
        L. N. Smith, N. Topin, [Super-convergence: very fast training of neural networks using large learning rates](
        https://arxiv.org/abs/1708.07120), 2018, section 3.
    """

    def __init__(self, *, steps, value, rise=0.3, start_divisor=25.0, end_divisor=1e4):
        check_count("steps", steps, minimum=2)
        check_range("value", value, 0, float("inf"), open_high=True)
        check_range("rise", rise, 0, 1, open_low=True, open_high=True)
        check_range("start_divisor", start_divisor, 1, float("inf"), open_high=True)
        check_range("end_divisor", end_divisor, 1, float("inf"), open_high=True)
        self.steps = steps
        self.value = value
        self.rise = rise
        self.start_divisor = start_divisor
        self.end_divisor = end_divisor

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        first = self.value / self.start_divisor
        last = first / self.end_divisor
        top = max(self.rise * self.steps - 1.0, 0.0)
        risen = tf.minimum(step / top, 1.0) if top else tf.ones_like(step)
        fallen = tf.clip_by_value((step - top) / (self.steps - 1.0 - top), 0.0, 1.0)
        up = first + (self.value - first) * tf.sin(math.pi / 2.0 * risen) ** 2
        down = last + (self.value - last) * tf.cos(math.pi / 2.0 * fallen) ** 2
        return tf.where(step < top, up, down)


def value_at(schedule, step):
    """The value of a number or a schedule at a step, as a float32 scalar."""
    return tf.cast(schedule(step) if callable(schedule) else schedule, tf.float32)
