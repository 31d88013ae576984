"""A callback that gives the optimizer its learning rate by a schedule."""

import contextlib
import functools
import math
import numbers

import keras
import numpy as np
import tensorflow as tf

from keras_consistency import _compat
from keras_consistency.parts import check_count, check_range

_SCHEDULE = keras.optimizers.schedules.LearningRateSchedule


class LearningRate(keras.callbacks.Callback):
    """Gives the optimizer its learning rate by a schedule, at every update or every epoch.

    It works on any compiled `keras.Model`, whether its optimizer has a fixed rate, a schedule of its own or a
    `LossScaleOptimizer` around it. The rate is

        schedule(update or epoch) * min((update + 1) / warmup_steps, 1) * factor

    where updates count from 0 as the optimizer does: an update that gathers the gradients of several batches
    (`gradient_accumulation_steps`) counts once, one that loss scaling skips does not count, and a training that resumes
    from saved weights, a `.keras` file or `keras.callbacks.BackupAndRestore` goes on where it was. It is set inside the
    compiled step, so that with `steps_per_execution` every step has its own. Epochs count as `fit` counts them: on
    resuming without `BackupAndRestore`, pass `initial_epoch`.

    The rate of the latest update is `learning_rate` in the logs of batches and epochs, whatever the order of the
    callbacks, thus in the history, `keras.callbacks.CSVLogger` and `TensorBoard`, and is what `optimizer.learning_rate`
    returns in training. (With a `train_step` of your own that does not return `get_metrics_result()`, it is in the logs
    of epochs, for callbacks that come after this one.) After training, an optimizer of a fixed rate keeps the last one,
    as with Keras's own callbacks; one with a schedule has it again. What is saved are the variables and the
    configuration that the optimizer has without the callback.

    | Schedule | Class |
    |--|--|
    | in steps | `keras.optimizers.schedules.PiecewiseConstantDecay` |
    | exponential | `keras.optimizers.schedules.ExponentialDecay` |
    | polynomial, linear | `keras.optimizers.schedules.PolynomialDecay` |
    | cosine | `keras.optimizers.schedules.CosineDecay` |
    | cosine with restarts | `keras.optimizers.schedules.CosineDecayRestarts` |
    | cosine of FixMatch | `kc.schedules.PartialCosine` |
    | one cycle | `kc.schedules.OneCycle` |

    Args:
        schedule: a number, a `keras.optimizers.schedules.LearningRateSchedule`, or a function of one Python integer
            that returns a number. A schedule is part of the compiled step. A function is called in Python, for all
            steps of an execution before it.
        by: what the schedule is a function of: `"step"`, the number of updates done, or `"epoch"`.
        warmup_steps: number of updates over which the rate rises linearly, the last of which has all of it; 0 for none.
            The schedule runs from step 0 all the same.

    Attributes:
        factor: what the rate is multiplied by, a number of at least 0, 1.0 at first. It may be set in training, by
            another callback say, without retracing; it is not saved.

    Raises:
        TypeError: where `schedule` is none of these, or at the beginning of training, the model has no Keras optimizer.
        ValueError: where an argument lies outside its range; in training, where the schedule gives anything but a
            finite number of at least 0, which no update is made with; where another `LearningRate`, a callback of
            Keras's or one of your own sets the rate too.

    Example:

    ```python
    cosine = kc.schedules.PartialCosine(value=0.03, steps=20_000)
    model.compile(keras.optimizers.SGD(momentum=0.9, nesterov=True), loss=loss)
    model.fit(batches, callbacks=[kc.callbacks.LearningRate(cosine, warmup_steps=500)])
    ```
    """

    def __init__(self, schedule, *, by="step", warmup_steps=0):
        super().__init__()
        if isinstance(schedule, type) or not (callable(schedule) or isinstance(schedule, numbers.Real)):
            raise TypeError(
                "`schedule` must be a number, a `keras.optimizers.schedules.LearningRateSchedule` or a function of one "
                f"integer. Received: schedule={schedule!r}"
            )
        if not callable(schedule):
            check_range("schedule", schedule, 0, float("inf"), open_high=True)
        if by not in ("step", "epoch"):
            raise ValueError(f"`by` must be 'step' or 'epoch'. Received: by={by!r}")
        check_count("warmup_steps", warmup_steps, minimum=0)
        self.schedule = schedule
        self.by = by
        self.warmup_steps = warmup_steps
        self._factor = 1.0
        self._step = None
        self._first_epoch = True
        self._batch = 0

    def __repr__(self):
        return f"LearningRate({self.schedule!r}, by={self.by!r}, warmup_steps={self.warmup_steps!r})"

    @property
    def factor(self):
        """What the rate is multiplied by, a Python float."""
        return self._factor

    @factor.setter
    def factor(self, value):
        check_range("factor", value, 0, float("inf"), open_high=True)
        self._factor = float(value)
        if self._step is not None:
            self._step.factor.assign(self._factor)

    def set_model(self, model):
        """As in Keras; also ends the hold of a callback whose training an error has ended."""
        super().set_model(model)
        if isinstance(model.train_function, _Step):
            model.train_function.release()

    def on_train_begin(self, logs=None):
        """Has the compiled step set the rate."""
        held = self.model.train_function
        if isinstance(held, _Step):
            held.release()
            raise ValueError(
                "Only one `kc.callbacks.LearningRate` can set the rate of a model: leave one out, or set the `factor` "
                f"of the other. Received: callbacks={[held.owner, self]}"
            )
        if not isinstance(_compat.inner_optimizer(self.model.optimizer), keras.optimizers.Optimizer):
            raise TypeError(
                "`LearningRate` needs a model that is compiled with a Keras optimizer. "
                f"Received: optimizer={self.model.optimizer!r}"
            )
        self._first_epoch = True
        self._install()

    def on_epoch_begin(self, epoch, logs=None):
        """Looks whether the schedule is fit for what is ahead, and sets the rate for whoever reads it before a step."""
        self._install()
        with self._step.released_by_errors():
            self._step.check()
            if self._first_epoch:
                self._check_ahead(epoch)
                self._first_epoch = False
            if self.by == "epoch":
                self._step.read([self._value(epoch)])
            elif not isinstance(self.schedule, _SCHEDULE):
                self._step.read([self._value(self._step.updates())])
            self._step.set()
            self._step.mark()

    def on_train_batch_begin(self, batch, logs=None):
        """Lets the compiled step set the rate this time."""
        self._install()
        self._step.armed = True
        self._batch = batch

    def on_epoch_end(self, epoch, logs=None):
        """Puts the rate into the logs."""
        with self._step.released_by_errors():
            self._step.check()
        if logs is not None:
            logs.setdefault("learning_rate", float(self._step.rate.numpy()))

    def on_train_end(self, logs=None):
        """Gives the optimizer and the model back."""
        self._step.release()

    def _value(self, number):
        """The schedule at an update or epoch, without warm-up and factor: a float."""
        found = self.schedule
        if isinstance(found, _SCHEDULE):
            found = found(tf.constant(number, tf.int64))
        elif callable(found):
            found = found(number)
        try:
            array = np.asarray(found.numpy() if hasattr(found, "numpy") else found, "float64")
        except (TypeError, ValueError):
            array = np.full([], np.nan)
        if array.shape != () or not np.isfinite(array) or array < 0:
            self._refuse(number, found)
        return float(array)

    def _refuse(self, number, found):
        raise ValueError(
            f"`schedule` must give a finite number of at least 0, a scalar, at every {self.by}. "
            f"Received: schedule({number})={found!r}"
        )

    def _install(self):
        if self._step is not None and not self._step.fits(self.model):
            self._step.release()
            self._step = None
        if self._step is None:
            self._step = _Step(self, self.model)
        self._step.install()

    def _check_ahead(self, epoch):
        """Refuses a Keras schedule that is unfit for what is ahead, as far as a few numbers show; a function may be one
        of the past, and is looked at when it is called.
        """
        if not isinstance(self.schedule, _SCHEDULE):
            return
        if self.by == "epoch":
            first, count = epoch, self.params["epochs"] - epoch
        else:
            first, steps = self._step.updates(), self.params.get("steps") or 1
            accumulated = self._step.optimizer.gradient_accumulation_steps or 1
            count = steps * (self.params["epochs"] - epoch) // accumulated
        for number in np.unique(np.linspace(first, first + max(count, 1) - 1, 16, dtype="int64")):
            self._value(int(number))

    def _read_ahead(self):
        """The values of a Python function for the updates of the execution that is about to begin."""
        first, steps, values = self._step.updates(), self.params.get("steps"), []
        sure = 1 if steps is None else steps - self._batch
        for number in range(first, first + self.model.steps_per_execution):
            try:
                values.append(self._value(number))
            except (LookupError, ValueError):
                if number - first < sure:
                    raise
                values.append(float("nan"))  # Where the data end before, a function of a list may have no more.
        return values


class _Step:
    """The training function of a model, in which the optimizer sets its rate before it applies gradients.

    Nothing of it stays in a training without the callback: the optimizer is changed while the function runs, and where
    an error has ended a training, the next call gives everything back.

    Attributes:
        owner: the `LearningRate`.
        rate: the optimizer's own variable if its rate is fixed, so that what it saves stays the same; else one that
            stands in for its schedule.
        armed: whether the next call is that of a training with the callback.
    """

    def __init__(self, owner, model):
        self.owner = owner
        self.model = model
        self.plain = model.train_function
        self.optimizer = _compat.inner_optimizer(model.optimizer)
        self.armed = False
        self._running = False
        self._evaluating = False
        self._logged = False
        self._held = None
        source = _compat.rate_source(self.optimizer)
        self._fixed = isinstance(source, keras.Variable)
        with model.distribute_strategy.scope():
            self.rate = source if self._fixed else _variable(0.0)
            self.factor = _variable(owner.factor)
            # The number of an update, and what a Python function gives for it and those after it.
            self._read = _variable(np.zeros(1 + model.steps_per_execution), "float64")
            # The rate that was set; whether the schedule gave what is no rate, the first such value, and its update.
            self._record = _variable(np.zeros(4), "float64")
            # Number of updates, when the rate was last known to be that of the record.
            self._updates = _variable(0, "int64")
        model.train_function = None
        model.make_train_function()
        self._function, model.train_function = model.train_function, self.plain

    def fits(self, model):
        """Whether this is still the training function of a model, which may have been compiled again."""
        source = _compat.rate_source(_compat.inner_optimizer(model.optimizer))
        return (
            model is self.model
            and model.train_function in (self, self.plain)
            and _compat.inner_optimizer(model.optimizer) is self.optimizer
            and (source is self.rate if self._fixed else not isinstance(source, keras.Variable))
            and self._read.shape[0] == 1 + model.steps_per_execution
        )

    def install(self):
        """Takes the place of the model's training function, and of the optimizer's own schedule."""
        if self._held is not None:
            return
        self._record.assign([float(self.rate.numpy()), 0.0, 0.0, 0.0])
        self.mark()
        self._held = contextlib.ExitStack()
        if not self._fixed:
            own = _compat.rate_source(self.optimizer)
            own = own._own if isinstance(own, _Held) else own
            held = _Held(own, self.rate)
            self.optimizer.learning_rate = held
            self._held.callback(self._give_back, own, held)
        for name, function in (("get_metrics_result", self._results), ("evaluate", self._evaluate)):
            self._held.enter_context(
                _replaced(self.model, name, functools.partial(function, getattr(self.model, name)))
            )
        self.model.train_function = self

    def release(self):
        """Gives back what `install` took."""
        held, self._held, self.armed = self._held, None, False
        if held is not None:
            held.close()
            if self.model.train_function is self:
                self.model.train_function = self.plain

    def _give_back(self, own, held):
        if _compat.rate_source(self.optimizer) is held:
            self.optimizer.learning_rate = own

    def __call__(self, iterator):
        if not self.armed:
            self.release()
            return self.plain(iterator)
        self.armed = False
        with self.released_by_errors():
            self.check()
            if self.owner.by == "step" and not isinstance(self.owner.schedule, _SCHEDULE):
                self.read(self.owner._read_ahead())
            apply, self._running = functools.partial(self._apply, self.optimizer.apply), True
            try:
                with _replaced(self.optimizer, "apply", apply):
                    return self._function(iterator)
            finally:
                self._running = False

    @contextlib.contextmanager
    def released_by_errors(self):
        """Gives everything back where an error ends the training, other than the one that Keras ends data by."""
        try:
            yield
        except (StopIteration, tf.errors.OutOfRangeError):
            raise
        except BaseException:
            self.release()
            raise

    def updates(self):
        """Number of updates done, a Python integer."""
        return int(tf.convert_to_tensor(self.optimizer.iterations))

    def read(self, values):
        """Takes values of the schedule that Python has computed, those of the updates from the present one on."""
        size = self._read.shape[0]
        self._read.assign(([self.updates(), *values] + values[-1:] * size)[:size])

    def set(self):
        """Sets the rate of the next update. What is no rate is 0 instead, and remembered."""
        update = tf.cast(self.optimizer.iterations, tf.int64)
        if self.owner.by == "step" and isinstance(self.owner.schedule, _SCHEDULE):
            found = self.owner.schedule(update)
        else:
            read = tf.convert_to_tensor(self._read)
            ahead = tf.clip_by_value(update - tf.cast(read[0], tf.int64), 0, self._read.shape[0] - 2)
            found = tf.gather(read, 1 + ahead)
        rate = tf.cast(found, tf.float32)
        fit = tf.math.is_finite(rate) & (rate >= 0.0)
        rate *= tf.convert_to_tensor(self.factor)
        if self.owner.warmup_steps:
            rate *= tf.minimum(tf.cast(update + 1, tf.float32) / self.owner.warmup_steps, 1.0)
        self.rate.assign(tf.cast(tf.where(fit, rate, 0.0), self.rate.dtype))
        record = tf.convert_to_tensor(self._record)
        refused = tf.stack([1.0, tf.cast(found, tf.float64), tf.cast(update, tf.float64)])
        refused = tf.where(fit | (record[1] > 0.0), record[1:], refused)
        self._record.assign(tf.concat([[tf.cast(tf.convert_to_tensor(self.rate), tf.float64)], refused], axis=0))

    def mark(self):
        """Notes how many updates there are, by which `check` knows a state that was read from a file."""
        self._updates.assign(tf.cast(self.optimizer.iterations, tf.int64))

    def _apply(self, apply, grads, trainable_variables=None):
        self.set()
        apply(grads, trainable_variables)
        self.mark()

    def check(self):
        """Raises a `ValueError` where the schedule gave what is no rate, or something else has set the rate."""
        was, refused, value, update = self._record.numpy().tolist()
        if refused:
            self.owner._refuse(int(update), value)
        now = float(self.rate.numpy())
        source = _compat.rate_source(self.optimizer)
        ours = source is self.rate if self._fixed else isinstance(source, _Held)
        # Where the number of updates is another too, a saved state was read.
        if ours and (math.isclose(was, now, rel_tol=1e-5) or int(self._updates.numpy()) != self.updates()):
            return
        raise ValueError(
            f"Only one callback can set the rate of a model, and beside `{self.owner!r}` something else has: leave out "
            "`keras.callbacks.LearningRateScheduler`, `keras.callbacks.ReduceLROnPlateau` or what sets "
            "`optimizer.learning_rate` in a callback of your own, or have it set `factor` of this one. "
            f"Received: learning_rate={now if ours else source} after update {self.updates()}, where it was {was}"
        )

    def _results(self, results):
        logs = results()
        if self._running:
            self._logged = True
        elif not self._logged or self._evaluating or not tf.executing_eagerly():
            return logs
        return {**logs, "learning_rate": tf.cast(tf.convert_to_tensor(self.rate), tf.float32)}

    def _evaluate(self, evaluate, *args, **kwargs):
        before, self._evaluating = self._evaluating, True
        try:
            return evaluate(*args, **kwargs)
        finally:
            self._evaluating = before


class _Held(_SCHEDULE):
    """Stands in for an optimizer's own schedule, and is that schedule for whoever saves the optimizer."""

    def __init__(self, own, rate):
        self._own = own
        self._rate = rate
        functools.update_wrapper(self, own, updated=())

    __class__ = property(lambda self: type(self._own))

    def __getattr__(self, name):
        if name == "_own":
            raise AttributeError(name)
        return getattr(self._own, name)

    def __call__(self, step=None):
        return tf.convert_to_tensor(self._rate)

    def get_config(self):
        return self._own.get_config()


def _variable(value, dtype="float32"):
    return keras.Variable(
        value, dtype=dtype, trainable=False, aggregation="only_first_replica", name="learning_rate_state"
    )


@contextlib.contextmanager
def _replaced(owner, name, value):
    """Has an object another attribute meanwhile."""
    own = name in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
