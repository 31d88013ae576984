"""Teachers: whose answer the student is to agree with."""

import keras
import tensorflow as tf

from keras_consistency import _compat
from keras_consistency.parts import check_range


class Teacher(keras.layers.Layer):
    """Base of the teachers. A teacher is a layer: call it on inputs to get the teacher's answer.

    Args:
        training: whether the network runs in training mode (dropout on, batch statistics) when it makes targets.

    Attributes:
        network: the teacher's `keras.Model`, once the teacher belongs to a `ConsistencyModel`.
        serves: whether `evaluate`, `predict` and `export` read the teacher's network instead of the student.
        learns: whether the teacher's answers are those of the student's own training forward, where it makes one.
    """

    serves = False
    learns = False

    def __init__(self, *, training, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if not isinstance(training, bool):
            raise TypeError(f"`training` must be True or False. Received: training={training!r}")
        self.training = training
        self.network = None

    def attach(self, student):
        """Makes the teacher's network from a built student. Called once by the model."""
        if self.network is not None:
            raise ValueError(
                f"`teacher` belongs to another model already. Make a new one for each model. Received: teacher={self!r}"
            )
        self.network = self.network_for(student)
        if self.network is not student:
            # Variable by variable: batch normalisation in a layer with `trainable = False` ignores `training=True`.
            for variable in self.network.variables:
                variable.trainable = False
        self.built = True

    def network_for(self, student):
        """The teacher's network, a built `keras.Model`."""
        raise NotImplementedError

    def call(self, inputs, training=False):
        return self.network(inputs, training=training)

    def look(self, student, inputs):
        """The answer of which targets are made: the network's, in training mode if that was asked for."""
        return self.network(inputs, training=self.training)

    def update(self, student, step, applied):
        """Follows the student after an optimizer step.

        Args:
            student: the `keras.Model` that learns.
            step: number of optimizer steps done, an integer scalar.
            applied: whether this call changed the student (gradient accumulation may not have), a bool scalar.
        """

    def get_config(self):
        return {**super().get_config(), "training": self.training}


@keras.saving.register_keras_serializable(package="keras_consistency")
class Self(Teacher):
    """The student itself, without gradient.

    Where a term's teacher view is one that the student learns on anyway, the student's own forward is used: no second
    one.

    Args:
        training: whether a forward of its own runs in training mode, as in FixMatch and UDA, where the weak view goes
            through the network together with everything else: batch normalisation takes the view's own statistics then,
            and its moving averages see them too. `False` takes the moving averages and leaves them alone.
    """

    def __init__(self, *, training=True, **kwargs):
        super().__init__(training=training, **kwargs)
        self.learns = training

    def network_for(self, student):
        return student


@keras.saving.register_keras_serializable(package="keras_consistency")
class EMA(Teacher):
    """The exponential moving average of the student's weights: `teacher = d teacher + (1 - d) student` after each step.

    With `warmup`, the decay at step `t` is `min(decay, (1 + t) / (10 + t))`: the average spans about the last ninth of
    a young run, so that the teacher serves runs of a thousand steps as well as of a million, and forgets the initial
    weights.

    Args:
        decay: `d`, in [0, 1).
        warmup: whether the decay rises as above.
        statistics: what becomes of float variables that are not trained (batch normalisation's moving mean and
            variance). `"ema"` averages them like the weights: averaged weights need the statistics that belong to them,
            which is why it is the default. `"copy"` takes the student's. `"own"` leaves them to the teacher's own
            forwards, which then must run in training mode. Integer variables are never touched.
        targets_from: whose answers the targets are made of: `"teacher"` (Mean Teacher), or `"student"` where the
            average is only evaluated and exported (FixMatch and most since).
        training: whether targets are made in training mode. `None` is `True` for the student and for statistics of its
            `"own"`.

    References:
        - A. Tarvainen, H. Valpola, [Mean teachers are better role models](https://arxiv.org/abs/1703.01780), 2017,
          equation 2.
    """

    serves = True

    def __init__(self, *, decay=0.999, warmup=True, statistics="ema", targets_from="teacher", training=None, **kwargs):
        check_range("decay", decay, 0, 1, open_high=True)
        if not isinstance(warmup, bool):
            raise TypeError(f"`warmup` must be True or False. Received: warmup={warmup!r}")
        if statistics not in ("copy", "ema", "own"):
            raise ValueError(f"`statistics` must be 'copy', 'ema' or 'own'. Received: statistics={statistics!r}")
        if targets_from not in ("teacher", "student"):
            raise ValueError(f"`targets_from` must be 'teacher' or 'student'. Received: targets_from={targets_from!r}")
        if statistics == "own" and (training is False or targets_from == "student"):
            raise ValueError(
                "`statistics='own'` needs `targets_from='teacher'` and `training=True`: the teacher's statistics "
                "move only in forwards in training mode. "
                f"Received: targets_from={targets_from!r}, training={training!r}"
            )
        if training is None:
            training = statistics == "own" or targets_from == "student"
        super().__init__(training=training, **kwargs)
        self.decay = decay
        self.warmup = warmup
        self.statistics = statistics
        self.targets_from = targets_from
        self.learns = targets_from == "student" and training

    def look(self, student, inputs):
        network = student if self.targets_from == "student" else self.network
        return network(inputs, training=self.training)

    def network_for(self, student):
        return _compat.copy_model(student)

    def update(self, student, step, applied):
        decay = tf.constant(self.decay, tf.float32)
        if self.warmup:
            step = tf.cast(step, tf.float32)
            decay = tf.minimum(decay, (1.0 + step) / (10.0 + step))
        decay = tf.where(applied, decay, 1.0)
        trained = {id(variable) for variable in student.trainable_variables}
        for own, source in zip(self.network.weights, student.weights, strict=True):
            if not tf.as_dtype(own.dtype).is_floating:
                continue
            if id(source) in trained or self.statistics == "ema":
                share = tf.cast(decay, own.dtype)
                own.assign(share * own.value + (1 - share) * source.value)
            elif self.statistics == "copy":
                own.assign(source.value)

    def get_config(self):
        return {
            **super().get_config(),
            "decay": self.decay,
            "warmup": self.warmup,
            "statistics": self.statistics,
            "targets_from": self.targets_from,
        }


@keras.saving.register_keras_serializable(package="keras_consistency")
class Frozen(Teacher):
    """A network that does not change: distillation, or the previous generation of a noisy student.

    `evaluate`, `predict` and `export` read the student.

    Args:
        network: a built `keras.Model` with the student's outputs; its variables are set to `trainable = False`.
        training: whether the network makes targets in training mode.
    """

    def __init__(self, network, *, training=False, **kwargs):
        super().__init__(training=training, **kwargs)
        if not isinstance(network, keras.Model) or not network.built:
            raise ValueError(f"`network` must be a built `keras.Model`. Received: network={network!r}")
        self._frozen = network

    def network_for(self, student):
        return self._frozen

    def get_config(self):
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self._frozen)}

    @classmethod
    def from_config(cls, config):
        config = dict(config, network=keras.saving.deserialize_keras_object(config["network"]))
        return cls(**config)
