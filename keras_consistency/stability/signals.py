"""The state that all detectors share: what a training has shown of itself so far."""

import collections
import math

from keras_consistency.stability.windows import Blocks, Track

_ACCURACIES = ("accuracy", "acc", "categorical_accuracy", "sparse_categorical_accuracy", "binary_accuracy")
_ACCURATE = 0.9  # of the examples right: whatever else is seen, the training has got somewhere
_LEARNED = 0.8  # of the loss at the start: below, the network has learned something


class Rate:
    """The learning rate: whether it rose of late, and whether its schedule is about to end.

    Attributes:
        value: the rate of the last step, `None` before there is one.
        greatest: the greatest so far.
    """

    _steps = 20  # to a block of which the least rate is kept
    _start = 50  # steps in which a warm-up may double it

    def __init__(self):
        self.value = None
        self.greatest = 0.0
        self._least = collections.deque(maxlen=10)
        self._count = 0
        self._leaped = -math.inf

    def push(self, value):
        """Takes the rate of a step."""
        if self._count >= self._start and value >= 2.0 * max(self.greatest, 1e-30):
            self._leaped = self._count
        self.value = value
        self.greatest = max(self.greatest, value)
        if self._count % self._steps == 0:
            self._least.append(value)
        elif value < self._least[-1]:
            self._least[-1] = value
        self._count += 1

    @property
    def rose(self):
        """Whether it is half as high again as at some time in the last 200 steps: a warm-up, a restart or a cycle.

        None of these at once doubles the greatest rate so far: that is not counted.
        """
        if self.value is None or self._count - self._leaped <= 200:
            return False
        return self.value >= 1.5 * min(self._least) and self.value > 0.0

    @property
    def rising(self):
        """Whether it is higher than 20 to 40 steps ago."""
        return self.value is not None and len(self._least) > 1 and self.value > 1.01 * self._least[-2]

    @property
    def low(self):
        """Whether it is at most a tenth of the greatest so far."""
        return self.value is not None and self.value <= 0.1 * self.greatest


class Signals:
    """Tracks of the signals of a training, fed with a record a step and with the logs of an epoch.

    Values that are not finite are no part of any track.

    Attributes:
        record: the last record.
        loss_name: the loss to judge: `"supervised_loss"` where there is one, as the scales of terms change on purpose,
            else `"loss"`.
        loss: its track, `loss_blocks` its whole course.
        gradient, update, share, distance: tracks of `gradient_norm`, `update_ratio`, `top_class_share` and
            `teacher_distance`.
        agreements: tracks of the terms' `{term}_agreement`, by that name.
        rate: the learning rate.
        accuracy: the best accuracy in an epoch's logs, on what was trained on, `None` without one.
        seen: names of all signals that ever had a value.
        steps: number of records.
    """

    def __init__(self):
        self.record = {}
        self.loss_name = "loss"
        self.loss = Track()
        self.loss_blocks = Blocks()
        self.new_block = False
        self.gradient = Track(initial=20)
        self.update = Track()
        self.share = Track()
        self.distance = Track()
        self.agreements = {}
        self.rate = Rate()
        self.accuracy = None
        self.seen = set()
        self.steps = 0
        self._reported = {}

    def push(self, record):
        """Takes the record of a step."""
        self.record = record
        self.steps += 1
        self.new_block = False
        finite = math.isfinite
        if self.loss_name == "loss" and "supervised_loss" in record:
            self.loss_name, self.loss, self.loss_blocks = "supervised_loss", Track(), Blocks()
        for name, value in record.items():
            if name not in self.seen:
                self.seen.add(name)
                if name.endswith("_agreement"):
                    self.agreements[name] = Track()
            if not finite(value):
                continue
            if name == self.loss_name:
                self.loss.push(value)
                self.new_block = self.loss_blocks.push(value)
            elif name == "gradient_norm":
                self.gradient.push(value)
            elif name == "update_ratio":
                self.update.push(value)
            elif name == "learning_rate":
                self.rate.push(value)
            elif name == "top_class_share":
                self.share.push(value)
            elif name == "teacher_distance":
                self.distance.push(value)
            elif name in self.agreements:
                self.agreements[name].push(value)

    def report(self, cause):
        """Notes that there was an event."""
        self._reported[cause] = self.steps

    def since(self, *causes):
        """Number of steps since the last event of some causes, infinity where there was none."""
        return self.steps - max((self._reported.get(cause, -math.inf) for cause in causes), default=-math.inf)

    def push_epoch(self, logs):
        """Takes the logs of an epoch."""
        self.seen.update(name for name in logs if name.startswith("val_"))
        found = [logs[name] for name in _ACCURACIES if math.isfinite(logs.get(name, math.nan))]
        if found:
            self.accuracy = max(found) if self.accuracy is None else max(self.accuracy, *found)

    @property
    def fall(self):
        """How far the loss fell from its start to its lowest level, at least 0."""
        loss = self.loss
        return 0.0 if loss.lowest is None else max(loss.initial - loss.lowest, 0.0)

    @property
    def learned(self):
        """Whether the loss has been a fifth below its start; true where no loss is seen."""
        loss = self.loss
        if loss.initial is None:
            return True
        return self.fall >= (1.0 - _LEARNED) * abs(loss.initial) > 0.0

    @property
    def accurate(self):
        """Whether an epoch's accuracy was at least 0.9."""
        return self.accuracy is not None and self.accuracy >= _ACCURATE

    @property
    def falling(self):
        """Whether the loss is a tenth lower than in the steps of the reference; false where that is not seen."""
        loss = self.loss
        if len(loss.reference) < 8:
            return False
        before = loss.reference.median
        return loss.level < before - 0.1 * max(abs(before), 0.1 * self.fall)
