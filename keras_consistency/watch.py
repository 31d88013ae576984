"""What a training step records of itself, and what a bad batch is kept from changing."""

import keras
import tensorflow as tf

from keras_consistency.ops import replicas
from keras_consistency.parts import check_count

COMMON = (
    "gradient_norm",
    "statistics_change",
    "update_ratio",
    "learning_rate",
    "top_class_share",
    "teacher_distance",
    "inputs_finite",
    "finite",
    "skipped",
)


class Watch:
    """Records the signals of each training step on the device, and keeps bad batches out of a model.

    A batch is bad where the loss or the gradient is not finite, where it leaves NaN in what parts remember, or where
    the norm of the gradient or the relative change of the student's batch statistics is above its limit. Its gradient
    counts as zero (so that the optimizer goes on by its momentum alone), and what the step has changed besides the
    trained weights is put back: batch statistics, memories and thresholds of parts, metrics. The teacher does not see
    it; where nothing is skipped, it still does not follow a step that is not finite.

    Args:
        model: a `kc.ConsistencyModel`; the watch's variables are made in its strategy's scope.
        length: number of steps that the record holds, after which the oldest is overwritten.
        skip: whether bad batches are kept out; else they are only recorded.

    Attributes:
        signals: names of the columns of the record.
        limits: float32 scalar variables by signal, `"gradient_norm"` and `"statistics_change"`: what a step may have at
            the most, infinity at first; empty where no batch is skipped.
        count: int64 scalar variable: the number of steps recorded.
    """

    def __init__(self, model, *, length=64, skip=False):
        check_count("length", length)
        self.skip = skip
        optimizer = model.optimizer
        if optimizer is not None and not optimizer.built:  # Keras does not build it where steps run eagerly.
            with model.distribute_strategy.scope():
                optimizer.build(model.trainable_variables)
        terms = [name for term in model.terms for name in term.metric_names]
        self.signals = ["loss", "supervised_loss", *terms, *COMMON]
        with model.distribute_strategy.scope():
            zeros = tf.zeros([length, len(self.signals)])
            self.records = keras.Variable(zeros, trainable=False, name="watch_records")
            self.count = keras.Variable(0, dtype="int64", trainable=False, name="watch_count")
            self.limits = {
                name: keras.Variable(float("inf"), trainable=False, name=f"watch_{name}_limit")
                for name in (("gradient_norm", "statistics_change") if skip else ())
            }
        self.length = length

    def begin(self, model):
        """What the step may have to put back, and the weights before it. Called before the step looks."""
        return _Step(self, model)

    def read(self, since):
        """The records of the steps from number `since` on that are still held: list of `(step, {signal: value})`.

        Waits for the device.
        """
        count, rows = int(self.count.numpy()), self.records.numpy().tolist()
        steps = range(max(since, count - self.length), count)
        return [(step, dict(zip(self.signals, rows[step % self.length], strict=True))) for step in steps]


class _Step:
    """One step of a watched model, in the graph."""

    def __init__(self, watch, model):
        self.watch = watch
        self.model = model
        self.trained = [_plain(variable) for variable in model.student.trainable_variables]
        self.weights = [tf.identity(variable) for variable in self.trained]
        self.kept = [(variable, tf.identity(variable)) for variable in _untrained(model)] if watch.skip else []
        self.statistics = {id(_plain(variable)) for variable in model.student.non_trainable_variables}
        self.memories = {id(_plain(variable)) for variable in model.part_state}
        early = self.statistics | self.memories
        # What the teacher and the metrics change comes after the others were put back.
        self.late = [pair for pair in self.kept if id(pair[0]) not in early]
        self.early = [pair for pair in self.kept if id(pair[0]) in early]
        self.healthy = tf.constant(True)

    def screen(self, loss, gradients, finite):
        """The gradients, or zeros where the batch is bad.

        Args:
            loss: this replica's share of the loss, a scalar.
            gradients: list of tensors or `None`, with the loss scale.
            finite: whether the inputs were, a bool scalar.
        """
        self.inputs_finite = finite
        optimizer = self.model.optimizer
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        scale = optimizer.dynamic_scale.value if scaled else 1.0
        present = [tf.convert_to_tensor(gradient) for gradient in gradients if gradient is not None]
        total = replicas.all_sum([tf.cast(gradient, tf.float32) / scale for gradient in present])
        self.norm = tf.linalg.global_norm(total)
        self.loss = replicas.all_sum(loss)
        self.finite = finite & tf.math.is_finite(self.loss)
        if not scaled:
            self.finite &= tf.math.is_finite(self.norm)
        self.change = self._statistics_change()
        self.healthy = self.finite
        if not self.watch.skip:
            return gradients
        # Targets that are not finite may weigh nothing in the loss, and yet reach what parts remember.
        self.finite &= ~self._lost()
        self.healthy = self.finite
        # Overflow of float16 is for the optimizer to see, which lowers the loss scale and skips the step itself.
        overflow = scaled & ~tf.math.is_finite(self.norm)
        self.healthy &= overflow | (self.norm <= self.watch.limits["gradient_norm"].value)
        self.healthy &= self.change <= self.watch.limits["statistics_change"].value
        screened = iter([tf.where(self.healthy, gradient, tf.zeros_like(gradient)) for gradient in present])
        return [None if gradient is None else next(screened) for gradient in gradients]

    def _lost(self):
        """Whether the step has put NaN into the memories of parts."""
        pairs = [pair for pair in self.kept if id(pair[0]) in self.memories and pair[0].dtype.is_floating]
        if not pairs:
            return tf.constant(False)
        now, before = (
            tf.add_n([tf.cast(tf.reduce_sum(each), tf.float32) for each in side]) for side in zip(*pairs, strict=True)
        )
        return tf.math.is_nan(now) & ~tf.math.is_nan(before)

    def _statistics_change(self):
        """How far the step has moved batch statistics, relative to their norm."""
        pairs = [pair for pair in self.kept if id(pair[0]) in self.statistics and pair[0].dtype.is_floating]
        if not pairs:
            return tf.constant(0.0)
        moved = tf.linalg.global_norm([tf.convert_to_tensor(variable) - before for variable, before in pairs])
        length = tf.linalg.global_norm([before for _, before in pairs])
        return replicas.all_mean(tf.cast(tf.math.divide_no_nan(moved, length), tf.float32))

    def put_back(self):
        """Undoes what a bad batch has changed of batch statistics and memories, before the teacher reads them."""
        self._restore(self.early)

    def _restore(self, pairs):
        for variable, before in pairs:
            variable.assign(tf.where(self.healthy, variable, before))

    def end(self, values, prediction):
        """Records the step, and undoes what a bad batch has changed since.

        Args:
            values: dictionary of scalars of this replica by signal.
            prediction: the student's on the labelled examples, a tensor `(examples, ..., classes)`, or a structure.
        """
        now = [tf.convert_to_tensor(variable) for variable in self.trained]
        length = tf.linalg.global_norm(self.weights)
        moved = tf.linalg.global_norm([a - b for a, b in zip(now, self.weights, strict=True)])
        missing = tf.constant(float("nan"))
        known = values | {
            "loss": tf.where(self.finite, self.loss, missing),
            "gradient_norm": self.norm,
            "statistics_change": self.change,
            "update_ratio": tf.math.divide_no_nan(moved, length),
            "learning_rate": tf.convert_to_tensor(self.model.optimizer.learning_rate),
            "inputs_finite": self.inputs_finite,
            "finite": self.finite,
            "skipped": ~self.healthy if self.watch.skip else False,
            **self._distance(length),
            **_top_class(prediction),
        }
        row = tf.stack([tf.cast(known.get(name, missing), tf.float32) for name in self.watch.signals])
        row = replicas.all_mean(row)  # What is the same on each replica stays as it is.
        place = self.watch.count.value % self.watch.length
        chosen = tf.range(self.watch.length, dtype=tf.int64)[:, tf.newaxis] == place
        self.watch.records.assign(tf.where(chosen, row, self.watch.records.value))
        self.watch.count.assign(self.watch.count.value + 1)
        self._restore(self.late)

    def _distance(self, length):
        pairs = _followed(self.model)
        if not pairs:
            return {}
        apart = [tf.convert_to_tensor(own) - tf.convert_to_tensor(source) for own, source in pairs]
        return {"teacher_distance": tf.math.divide_no_nan(tf.linalg.global_norm(apart), length)}


def watch(model, *, length, skip):
    """The watch of a model, made where it has none; what was traced before is traced again.

    Where several callbacks watch a training, each calls this before it begins and reads `model.watch` once it has.

    Args:
        model: a `kc.ConsistencyModel`.
        length, skip: as in `Watch`; what there is gets a longer record and starts to skip where these ask for it.
    """
    known = model.watch
    if known is not None:
        length, skip = max(length, known.length), skip or known.skip
    if known is None or (length, skip) != (known.length, known.skip):
        model.watch = Watch(model, length=length, skip=skip)
        model.train_function = None
    return model.watch


def release(model):
    """Has the steps of a model go on unwatched; what was traced before is traced again.

    Args:
        model: a `kc.ConsistencyModel`.
    """
    if model.watch is not None:
        model.watch = None
        model.train_function = None


def _top_class(prediction):
    if not tf.is_tensor(prediction) or prediction.shape[-1] == 1:
        return {}
    named = tf.one_hot(tf.argmax(prediction, axis=-1), prediction.shape[-1])
    shares = replicas.all_mean(tf.reduce_mean(named, axis=list(range(named.shape.rank - 1))))
    return {"top_class_share": tf.reduce_max(shares)}


def _followed(model):
    """Pairs of a teacher's weight and the student's trained weight that it is an average of."""
    network, student = model.teacher.network, model.student
    if network is None or network is student or not model.teacher.serves:
        return []
    trained = {id(variable) for variable in student.trainable_variables}
    pairs = zip(network.weights, student.weights, strict=True)
    return [(_plain(own), _plain(source)) for own, source in pairs if id(source) in trained]


def _untrained(model):
    """What a step changes besides the student's weights, the average of them, and the optimizer."""
    averages = {id(own) for own, _ in _followed(model)}
    found = [
        *model.student.non_trainable_variables,
        *model.part_state,
        *model.teacher.variables,
        *model.metrics_variables,
    ]
    plain = {id(_plain(variable)): _plain(variable) for variable in found if not _seeds(variable)}
    return [variable for key, variable in plain.items() if key not in averages]


def _seeds(variable):
    """Whether a variable is the state of a random generator, which goes on whatever becomes of the batch."""
    return not tf.as_dtype(variable.dtype).is_floating and "seed" in variable.name


def _plain(variable):
    return variable.value if isinstance(variable, keras.Variable) else variable
