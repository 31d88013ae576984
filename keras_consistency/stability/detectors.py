"""All detectors together: records of steps and logs of epochs in, events out."""

import collections
import pickle

from keras_consistency.parts import check_count, check_range
from keras_consistency.stability.answers import Collapse, TeacherDivergence
from keras_consistency.stability.courses import Overfitting, Plateau
from keras_consistency.stability.event import ADVICE, Event
from keras_consistency.stability.gradients import ExplodingGradient, VanishingGradient
from keras_consistency.stability.losses import LossSpike, NotFinite, Oscillation
from keras_consistency.stability.signals import Signals

# What a missing signal is called; those of `needs` that are not here go without saying.
_NAMES = {
    "loss": "a loss",
    "gradient_norm": "`gradient_norm`",
    "update_ratio": "`update_ratio`",
    "agreement": "a term's agreement",
    "teacher_distance": "`teacher_distance`",
    "top_class_share": "`top_class_share`",
    "val_loss": "validation data",
}
# What comes along with another trouble: while one of these is silent after its event, the cause is not reported.
_FOLLOWS = {
    "oscillation": {"not_finite"},
    "plateau": {"not_finite", "loss_spike", "exploding_gradient", "vanishing_gradient", "collapse"},
    "collapse": {"not_finite"},
    "vanishing_gradient": {"not_finite"},
}
_OF_STEPS = (NotFinite, LossSpike, Oscillation, TeacherDivergence, Collapse, VanishingGradient, ExplodingGradient)


class Detectors:
    """Finds what goes wrong in a training from a few numbers a step.

    Each trouble makes one event: a cause is silent after its event until its condition has not held for `cooldown`
    steps. A plateau that follows another trouble, a jump say, is part of it until then. No threshold
    depends on the scale of the loss. Everything is kept in constant memory.

    A record is a dictionary of floats, any of which may be missing: `"loss"`, `"supervised_loss"`, `"{term}_loss"`,
    `"{term}_mask_rate"`, `"{term}_agreement"` (share of the examples where student and teacher name the same class),
    `"gradient_norm"`, `"update_ratio"` (norm of the step's change of the weights / norm of the weights),
    `"learning_rate"`, `"top_class_share"` (share of the batch's predictions that name the most frequent class),
    `"teacher_distance"` (norm(teacher - student) / norm(student)) and `"finite"` (0 or 1). Where there is a supervised
    loss, it is judged in place of the total one, in which the scales of terms change on purpose.

    Args:
        sensitivity: how small a trouble counts: thresholds are divided by it; in [0.25, 4]. Above 1, more is found, and
            more of it is noise.
        patience: epochs without a lower validation loss that count as overfitting.
        plateau_steps: steps without a lower loss that count as a plateau, at the least.
        cooldown: steps that the condition of a trouble has to be gone before the next event of its cause.

    Raises:
        ValueError: where an argument lies outside its range; in `update`, for a step that does not come after the last.
    """

    _snapshot_every = 1000  # updates
    _snapshots = 8

    def __init__(self, *, sensitivity=1.0, patience=4, plateau_steps=500, cooldown=200):
        check_range("sensitivity", sensitivity, 0.25, 4)
        check_count("patience", patience)
        check_count("plateau_steps", plateau_steps, 100)
        check_count("cooldown", cooldown)
        self.sensitivity = sensitivity
        self.patience = patience
        self.plateau_steps = plateau_steps
        self.cooldown = cooldown
        self._state = _State(self)
        self._log = collections.deque()  # step, record, logs of what came since the last snapshot but one
        self._logged = 0  # updates before the log's first
        self._past = [(None, 0, pickle.dumps(self._state))]  # step, updates until then, state

    def update(self, step, record):
        """Takes the record of a training step.

        Args:
            step: number of the step, an integer greater than that of the last call.
            record: dictionary of floats, as described above; may be empty.

        Returns:
            A list of `Event`s, mostly empty.
        """
        last = self._state.step
        if last is not None and step <= last:
            raise ValueError(
                f"`step` must be greater than the last one, {last}; after a rollback, call `rewind` first. "
                f"Received: step={step!r}"
            )
        self._remember(step, record, None)
        return self._state.update(step, record)

    def update_epoch(self, step, logs):
        """Takes the logs of an epoch.

        Args:
            step: number of the last training step of the epoch.
            logs: dictionary of floats, as Keras gives it to `on_epoch_end`: `"loss"`, `"accuracy"`, `"val_loss"`, ...

        Returns:
            A list of `Event`s, mostly empty.
        """
        self._remember(step, None, logs)
        return self._state.update_epoch(step, logs)

    def missing(self):
        """What cannot be found for lack of signals so far.

        Returns:
            Dictionary from each such cause to a sentence that names what is missing. Ask after the first epoch.
        """
        seen = {"agreement" if name.endswith("_agreement") else name for name in self._state.signals.seen}
        sentences = {}
        for cause, detector in self._state.detectors.items():
            absent = [kinds for kinds in detector.needs if seen.isdisjoint(kinds)]
            if absent:
                names = [" or ".join(_NAMES[name] for name in _NAMES if name in kinds) for kinds in absent]
                sentences[cause] = f"`{cause}` cannot be found without {' and '.join(names)}."
        return sentences

    def reset_after(self, event):
        """Says that something was done about an event: if its condition outlasts `cooldown` steps, it is a new event.

        Without this call, an event is not repeated while its condition holds. Of a plateau, `plateau_steps` have to
        pass, of overfitting, `patience` epochs.

        Args:
            event: an `Event` of this object's.
        """
        self._state.react(event.cause)

    def rewind(self, step):
        """Forgets all that came after a step, for a training that was rolled back to it.

        The state is then what it was after that step, so that a trouble that comes again is found again. This is exact
        for the last 1,000 updates at least. Farther back, it is the state of some earlier step.

        Args:
            step: number of the last step to remember.
        """
        place = max(i for i, (at, _, _) in enumerate(self._past) if at is None or at <= step)
        _, done, state = self._past[place]
        del self._past[place + 1 :]
        self._state = pickle.loads(state)
        known = list(self._log)[done - self._logged :] if done >= self._logged else []
        self._log, self._logged = collections.deque(), done
        for at, record, logs in known:
            if at > step:
                break
            self._log.append((at, record, logs))
            if logs is None:
                self._state.update(at, record)
            else:
                self._state.update_epoch(at, logs)

    def _remember(self, step, record, logs):
        done = self._logged + len(self._log)
        if done - self._past[-1][1] >= self._snapshot_every:
            while self._logged < self._past[-1][1]:
                self._log.popleft()
                self._logged += 1
            self._past.append((self._state.step, done, pickle.dumps(self._state)))
            if len(self._past) > self._snapshots:
                # The start, each second one, and the last two.
                self._past = [self._past[0], *self._past[2:-2:2], *self._past[-2:]]
        self._log.append((step, dict(record) if logs is None else None, None if logs is None else dict(logs)))


class _State:
    """All that changes as records come in.

    Attributes:
        held: cause -> `[left, again]` of the causes that are silent: updates until the cause may be found anew if its
            condition does not hold, and, after a reaction, if it does.
    """

    def __init__(self, settings):
        sensitivity = settings.sensitivity
        self.cooldown = settings.cooldown
        self.patience = settings.patience
        self.plateau_steps = settings.plateau_steps
        self.signals = Signals()
        made = [detector(sensitivity) for detector in _OF_STEPS]
        made.append(Plateau(sensitivity, steps=settings.plateau_steps, epochs=2 * settings.patience))
        self.of_steps = made
        self.of_epochs = [Overfitting(sensitivity, patience=settings.patience), made[-1]]
        self.detectors = {each.cause: each for each in [*made, self.of_epochs[0]]}
        self.held = {}
        self.step = None

    def update(self, step, record):
        self.step = step
        signals = self.signals
        signals.push(record)
        events = []
        for detector in self.of_steps:
            finding = detector.update(signals)
            if finding is not None or detector.cause in self.held:
                self._judge(step, detector.cause, finding, self.cooldown, events)
        return events

    def update_epoch(self, step, logs):
        self.step = step
        self.signals.push_epoch(logs)
        events = []
        for detector in self.of_epochs:
            finding = detector.update_epoch(logs, self.signals)
            if detector.cause == "overfitting" or not self.signals.loss.count:
                self._judge(step, detector.cause, finding, self.patience, events)
        return events

    def react(self, cause):
        if cause in self.held:
            waits = {"overfitting": self.patience, "plateau": max(self.plateau_steps, self.cooldown)}
            self.held[cause][1] = waits.get(cause, self.cooldown)

    def _judge(self, step, cause, finding, wait, events):
        held = self.held.get(cause)
        if held is not None:
            if held[1] is not None:
                held[1] -= 1
            if finding is None:
                held[0] -= 1
                if held[0] <= 0:
                    del self.held[cause]
            else:
                held[0] = wait
            if finding is None or held[1] is None or held[1] > 0:
                return
        if finding is not None and self.held.keys().isdisjoint(_FOLLOWS.get(cause, ())):
            self.held[cause] = [wait, None]
            self.signals.report(cause)
            events.append(Event(step, cause, finding.evidence, ADVICE[cause], finding.signal, float(finding.value)))
