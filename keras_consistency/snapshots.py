"""A good point of a training, kept on the device."""

import keras
import tensorflow as tf

_KEPT = ("iteration", "learning_rate")  # of the optimizer: a schedule goes on, and a lowered rate stays lowered


class Snapshot:
    """What a training has learnt so far: student, teacher, memories of parts, and the optimizer's moments.

    Generators of random numbers, the optimizer's count of steps and its rate are left out: they go on.

    Args:
        model: a `kc.ConsistencyModel` whose optimizer is built.
    """

    def __init__(self, model):
        optimizer = [variable for variable in model.optimizer.variables if variable.name not in _KEPT]
        found = [*model.student.weights, *model.teacher.weights, *model.part_state, *optimizer]
        plain = [variable.value if isinstance(variable, keras.Variable) else variable for variable in found]
        self._values = [(variable, tf.identity(variable)) for variable in {id(v): v for v in plain}.values()]

    @property
    def finite(self):
        """Whether all of it is, a Python bool. Waits for the device."""
        floats = [value for _, value in self._values if value.dtype.is_floating]
        return bool(tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in floats]))

    def restore(self):
        """Puts all of it back."""
        for variable, value in self._values:
            variable.assign(value)
