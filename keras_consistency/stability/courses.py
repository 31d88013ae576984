"""Detectors that read the long course of a training: it no longer gets on, or only on what it is trained on."""

import itertools
import math
import statistics

from keras_consistency.stability.event import Finding

_ACCURACIES = ("val_accuracy", "val_acc", "val_categorical_accuracy", "val_sparse_categorical_accuracy")


class Plateau:
    """A loss that no longer falls and is not low, at a learning rate that is not.

    The last three tenths of the training, and at least `steps` steps, have no trend downwards (Kendall's statistic of
    its levels, under two standard deviations), and the median of their second half is lower than that of their first
    by no more than 1 % of it and 2 % of all that the loss fell. A loss is low below three tenths of its start, or where
    an epoch's accuracy was at least 0.9, and a learning rate at a tenth of its greatest: a schedule that ends.

    Args:
        steps: least number of steps without a fall.
        epochs: likewise of epochs, where there are logs of epochs alone.
    """

    cause = "plateau"
    needs = ({"loss", "supervised_loss"},)
    _part = 0.3

    def __init__(self, sensitivity, *, steps, epochs):
        self.steps = steps
        self.epochs = epochs
        self._low = 0.3 / max(sensitivity, 0.4)
        self._found = None
        self._losses = []

    def update(self, signals):
        """The finding of a step, or `None`; what was found holds until the next level is known."""
        if signals.new_block:
            blocks = signals.loss_blocks
            least = math.ceil(self.steps / blocks.steps)
            self._found = self._look(blocks.levels, least, signals, signals.loss.initial, blocks.steps, "steps")
        return self._found

    def update_epoch(self, logs, signals):
        """The finding of an epoch, or `None`: only where no step has shown a loss."""
        if signals.loss.count or not math.isfinite(logs.get("loss", math.nan)):
            return None
        self._losses.append(logs["loss"])
        if len(self._losses) > 4 * self.epochs:
            del self._losses[1]  # The first stays: it tells how high the loss was at the start.
        return self._look(self._losses, self.epochs, signals, self._losses[0], 1, "epochs")

    def _look(self, levels, least, signals, initial, size, unit):
        count = max(least, math.ceil(self._part * len(levels)), 5)
        # One level more: the start of a training may be flat for other reasons than its end.
        if len(levels) < count + 1 or signals.accurate or signals.rate.low or signals.rate.rising:
            return None
        tail = levels[-count:]
        half = count // 2
        before, now = statistics.median(tail[:half]), statistics.median(tail[-half:])
        fall = max(initial - min(levels), 0.0)
        if now < self._low * initial or before - now > max(0.01 * abs(before), 0.02 * fall):
            return None
        signs = sum((later > earlier) - (later < earlier) for earlier, later in itertools.combinations(tail, 2))
        deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
        if signs < -2.0 * deviation:
            return None
        name = signals.loss_name
        return Finding(
            name,
            now,
            f"`{name}` has not fallen in {count * size} {unit}: {before:.4g} in their first half, {now:.4g} in their "
            f"second, after {initial:.4g} at the start.",
        )


class Overfitting:
    """A validation loss that rises while the loss falls.

    Of medians of three epochs: the lowest validation loss is `patience` epochs old or older, the present one lies above
    it by a tenth of all that it ever fell, by a tenth of itself, and by three times the usual deviation of its changes
    since then, and the loss has not risen by half as much. No validation accuracy has had its best in the last
    `patience` epochs.

    Args:
        patience: number of epochs.
    """

    cause = "overfitting"
    needs = ({"val_loss"},)

    def __init__(self, sensitivity, *, patience):
        self.patience = patience
        self._rise = 0.1 / sensitivity
        self._epochs = 0
        self._best = None  # epoch, validation loss, loss
        self._accuracy = None  # epoch, validation accuracy
        self._highest = None
        self._recent = []
        self._losses = []

    def update_epoch(self, logs, signals):
        """The finding of an epoch, or `None`."""
        name = "supervised_loss" if "val_loss" in logs and "supervised_loss" in logs else "loss"
        held_out, loss = logs.get("val_loss", math.nan), logs.get(name, math.nan)
        self._epochs += 1
        if not math.isfinite(held_out):
            return None
        accuracy = max((logs[key] for key in _ACCURACIES if key in logs), default=math.nan)
        if math.isfinite(accuracy) and (self._accuracy is None or accuracy > self._accuracy[1] + 1e-3):
            self._accuracy = (self._epochs, accuracy)
        self._recent = [*self._recent[-9:], held_out]
        self._losses = [*self._losses[-2:], loss]
        level = statistics.median(self._recent[-3:])
        if self._best is None or level < self._best[1]:
            self._best = (self._epochs, level, statistics.median(self._losses))
        self._highest = level if self._highest is None else max(self._highest, level)
        return self._judge(name, level)

    def _judge(self, name, level):
        epoch, lowest, loss_then = self._best
        ago = self._epochs - epoch
        if ago < self.patience or len(self._recent) < 4:
            return None
        if self._accuracy is not None and self._epochs - self._accuracy[0] < self.patience:
            return None
        changes = [b - a for a, b in itertools.pairwise(self._recent[-1 - ago :])]
        middle = statistics.median(changes)
        noise = statistics.median(abs(change - middle) for change in changes)
        if level - lowest < max(self._rise * (self._highest - lowest), self._rise * abs(lowest), 3.0 * noise):
            return None
        now = statistics.median(self._losses)
        if not (math.isnan(now) or math.isnan(loss_then)) and now - loss_then > 0.5 * (level - lowest):
            return None
        return Finding(
            "val_loss",
            level,
            f"`val_loss` rose from {lowest:.4g}, its lowest, to {level:.4g} in {ago} epochs, while `{name}` went from "
            f"{loss_then:.4g} to {now:.4g} (medians of 3 epochs).",
        )
