"""A callback that sees when training goes wrong, and acts."""

import dataclasses
import math
import weakref

import keras

from keras_consistency import watch
from keras_consistency.callbacks.event_log import EventLog
from keras_consistency.callbacks.reactions import Reactions, by_cause, screens
from keras_consistency.limits import Limits
from keras_consistency.parts import check_count, check_range
from keras_consistency.stability import ADVICE, Detectors, Event

_PATIENCE = 10  # batches left out on end, after which it is not the batches that are bad
_ACTIVE = weakref.WeakKeyDictionary()  # model -> weak reference to the monitor of its training


class StabilityMonitor(keras.callbacks.Callback):
    """Watches a training, tells what goes wrong and why, and does what was asked for.

    It sees: values that are not finite, a loss that jumps, oscillation, a teacher that drifts away, collapse to one
    class, vanishing and exploding gradients, a generalisation gap that grows, and plateaus; `kc.stability.Detectors`
    says how. Of a `kc.ConsistencyModel` it watches the loss and every term's, the norms of gradient and change, rate,
    mask rates, agreement, the distance of the teacher, and validation; of any other Keras model the loss and
    validation. What it cannot see for lack of signals it says once, after the first epoch.

    Each step of a `kc.ConsistencyModel` writes its signals down on the device, where they are read every `every` steps,
    so that no other step waits for the monitor. Of other Keras models the mean loss is read after each step. What
    `"skip"` does happens within the step, before the batch can do harm.

    Steps are counted from 1, through all trainings of one model; for another model, the monitor begins anew. After
    training the model runs as before. Where an error ends the training, the next one with a monitor takes it from
    there; `model.watch = None` followed by `compile` ends the watch otherwise.

    Args:
        react: what to do: an action, a list of them, or a dictionary from causes (`kc.stability.CAUSES`) to these, with
            `"default"` for the rest (`"warn"` unless given). Actions:

            - `"warn"`: print the event, as every action does;
            - `"skip"`: leave a batch out whose loss or gradient is not finite, or that gives a gradient or moves batch
              statistics `skip_above` times as far as usual. It is decided for all causes together. After 10 such
              batches on end, what is usual is learnt anew;
            - `"lower_rate"`: multiply the learning rate by `factor` from here on;
            - `"tighten_clip"`: multiply the bound of the `kc.Clipping` in use by `factor`;
            - `"roll_back"`: put student, teacher, memories and optimizer back to the last good point before the trouble
              began, and multiply the rate by `factor`; the data go on. Bad batches are left out as with `"skip"`, and
              need no rollback, unless loss or gradient of 10 on end are not finite though their inputs are;
            - `"stop"`: end the training, after the step that follows at the latest.
        every: steps from one reading of the signals to the next.
        snapshot_every: steps from one good point to the next, for `"roll_back"`. Two of them and the start are kept on
            the device: three times the memory of weights and optimizer.
        factor: in (0, 1).
        skip_above: norm of a gradient or of a change of batch statistics, over the median of the last 200, above 1.
        max_rollbacks: after so many in a training, an event that would roll back stops it instead.
        detectors: a `kc.stability.Detectors`; `None` for one with its defaults.
        path: file to append each event to as a line of JSON, or `None`. Values that are not finite are `null`.
        verbose: 1 to print events, 0 for silence.

    Attributes:
        events: list of dictionaries: `step`, `epoch` (both from the start of the training), `cause`, `evidence`,
            `advice`, `signal`, `value`, and `actions`, a list of sentences.

    Raises:
        TypeError: where `detectors` is none.
        ValueError: where an argument lies outside its range, or the file cannot be written; at the beginning of
            training, where an action cannot be taken: `"tighten_clip"` without a `kc.Clipping`, `"skip"` or
            `"roll_back"` on a model that is no `kc.ConsistencyModel`, a lower rate of an optimizer with a schedule of
            its own (`kc.callbacks.LearningRate` can follow it instead); or where two monitors watch one training.
    """

    def __init__(
        self,
        *,
        react="warn",
        every=10,
        snapshot_every=100,
        factor=0.5,
        skip_above=20.0,
        max_rollbacks=5,
        detectors=None,
        path=None,
        verbose=1,
    ):
        super().__init__()
        self.react = by_cause(react)
        check_count("every", every)
        check_count("snapshot_every", snapshot_every)
        check_range("factor", factor, 0, 1, open_low=True, open_high=True)
        check_range("skip_above", skip_above, 1, float("inf"), open_low=True)
        check_count("max_rollbacks", max_rollbacks, minimum=0)
        if detectors is not None and not isinstance(detectors, Detectors):
            raise TypeError(
                f"`detectors` must be a `kc.stability.Detectors` or None. Received: detectors={detectors!r}"
            )
        if verbose not in (0, 1):
            raise ValueError(f"`verbose` must be 0 or 1. Received: verbose={verbose!r}")
        self.every = every
        self.snapshot_every = snapshot_every
        self.factor = factor
        self.skip_above = skip_above
        self.max_rollbacks = max_rollbacks
        self.detectors = Detectors() if detectors is None else detectors
        self._log = EventLog(path, verbose)
        self._last = None  # model
        self._told = False

    @property
    def events(self):
        """What was found, and what was done about it."""
        return self._log.events

    @property
    def _actions(self):
        return {action for actions in self.react.values() for action in actions}

    def set_model(self, model):
        """Has the model's steps write down what they do, where the model can."""
        super().set_model(model)
        if hasattr(model, "watch"):
            # Two readings' worth, and one execution of several steps.
            length = 2 * self.every + self._steps_a_batch
            watch.watch(model, length=length, skip=screens(self._actions))
        _ACTIVE[model] = weakref.ref(self)

    def on_train_begin(self, logs=None):
        """Starts to watch, and takes the first good point."""
        if self._last is None or self._last() is not self.model:
            self._last, self._step, self._log.events = weakref.ref(self.model), 0, []
            self.detectors.rewind(0)
        self._watch = getattr(self.model, "watch", None)
        self._seen = 0 if self._watch is None else int(self._watch.count.numpy())
        self._before = self._seen - self._step  # steps on record that are not this monitor's
        self._limits = None if self._watch is None else Limits(self._watch, self.skip_above)
        self._reactions = Reactions(
            self.model,
            self._limits,
            factor=self.factor,
            max_rollbacks=self.max_rollbacks,
            every=self.every,
            snapshot_every=self.snapshot_every,
        )
        self._checked = False
        self._epoch = self._unread = self._bad = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Notes which epoch it is; before the first, checks that every action can be taken."""
        self._epoch = epoch
        self._done, self._mean = 0, 0.0
        if self._checked:
            return
        try:
            if _ACTIVE[self.model]() is not self:
                raise ValueError("Two `kc.callbacks.StabilityMonitor`s watch one training: leave out one.")
            self._reactions.check(self._actions)
        except ValueError:
            self._release()
            raise
        self._checked = True
        self._keep_point()

    def on_train_batch_begin(self, batch, logs=None):
        """Reads what the steps before have done, where it is time to."""
        # Not at the end of a batch: for a callback that listens then, Keras waits for the logs of every step.
        if self._watch is None:
            if batch:
                self._see_mean(batch, _loss_of(self.model))
        elif self._unread * self._steps_a_batch >= self.every:
            self._read()
        self._unread += 1

    def on_epoch_end(self, epoch, logs=None):
        """Looks at what the epoch and its validation show."""
        logs = logs or {}
        if self._watch is None:
            self._see_mean(self.params.get("steps") or self._done + self._steps_a_batch, logs.get("loss"))
        else:
            self._read()
        for event in self.detectors.update_epoch(self._step, logs):
            self._react(event)
        if not self._told:
            self._told = True
            for sentence in self.detectors.missing().values():
                self._log.say(sentence)

    def on_train_end(self, logs=None):
        """Gives the model back."""
        self._release()

    def _release(self):
        _ACTIVE.pop(self.model, None)
        if self._watch is not None:
            watch.release(self.model)

    @property
    def _steps_a_batch(self):
        return int(getattr(self.model, "steps_per_execution", 1) or 1)

    def _read(self):
        self._unread = 0
        records = self._watch.read(self._seen)
        if records:
            self._seen = records[-1][0] + 1
            if self._see(records):
                self._limits.learn([record for _, record in records if not record["skipped"]])
                self._keep_point()
            self._step = self._seen - self._before

    def _keep_point(self):
        if "roll_back" in self._actions:
            self._reactions.keep_point(self._seen - self._before)

    def _see(self, records):
        """Shows records to the detectors; returns whether the training went on as it was from the first to the last."""
        rollbacks = self._reactions.rollbacks
        for number, record in records:
            self._step = number + 1 - self._before
            if record.get("skipped"):
                # The training never saw it, and the detectors do not.
                self._left_out(record)
            else:
                self._bad = 0
                known = {name: value for name, value in record.items() if not math.isnan(value) or name == "loss"}
                for event in self.detectors.update(self._step, known):
                    self._react(event, acting=self._reactions.rollbacks == rollbacks)
            if self.model.stop_training or self._reactions.rollbacks > rollbacks:
                return False  # What came after has been undone.
        return True

    def _see_mean(self, done, mean):
        """Sees the loss of the steps since the last time, of the epoch's mean after `done` steps."""
        steps = done - self._done
        if steps > 0 and mean is not None:
            loss = (mean * done - self._mean * self._done) / steps
            self._done, self._mean = done, mean
            self._seen += steps
            self._see([(self._seen - 1, {"loss": loss, "finite": float(math.isfinite(loss))})])

    def _left_out(self, record):
        """Logs a batch that was left out, and sees to it that not all of them are for good."""
        if not record["inputs_finite"]:
            cause, signal, evidence = "not_finite", "inputs_finite", "The inputs of a batch were not finite."
        elif not record["finite"]:
            cause, signal, evidence = "not_finite", "loss", "The loss or the gradient of a batch was not finite."
        else:
            cause = "exploding_gradient"
            signal, usual = self._limits.exceeded(record)
            evidence = f"`{signal}` of a batch was {record[signal]:.3g}, where {usual:.3g} is usual."
        self._bad += bool(record["inputs_finite"])
        lasting = self._bad == _PATIENCE
        if lasting:
            evidence += f" It is the {_PATIENCE}th of these on end."
        event = Event(self._step, cause, evidence, ADVICE[cause], signal, record[signal])
        self._react(event, left_out=True, lasting=lasting and cause == "not_finite")
        if lasting and cause == "exploding_gradient":
            self._limits.forget()
            self._log.say(f"Step {self._step}: what is usual is learnt anew.")

    def _react(self, event, *, acting=True, left_out=False, lasting=False):
        """Takes the actions that were asked for, and logs the event with what was done."""
        done = ["the batch was left out"] if left_out else []
        asked = self.react.get(event.cause, self.react["default"])
        for action in asked if acting else ():
            if screens([action]) and left_out and not (lasting and action == "roll_back"):
                continue
            if action in ("lower_rate", "tighten_clip", "roll_back", "stop"):
                done.append(getattr(self._reactions, action)(event.step))
                if action == "roll_back" and not self.model.stop_training:
                    self._bad = 0
                    self.detectors.rewind(self._reactions.rolled_back_to)
        if done and not left_out:
            self.detectors.reset_after(event)
        self._log.add({"epoch": self._epoch, **dataclasses.asdict(event), "actions": done})


def _loss_of(model):
    """The mean loss of the epoch so far, `None` where the model's steps keep none."""
    tracker = next((metric for metric in model.metrics if metric.name == "loss"), None)
    return None if tracker is None or not float(tracker.count) else float(tracker.result())
