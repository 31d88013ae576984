"""Detectors that read the loss: values that are not finite, jumps, oscillation."""

import math

import numpy as np

from keras_consistency.stability.event import Finding
from keras_consistency.stability.windows import Rolling

_MOST = 6  # of the 8 recent values have to agree


class NotFinite:
    """A loss, gradient or other signal that is NaN or infinite.

    Where the record says `"finite": 1` all the same, only the gradient or the update was not, in a step that a loss
    scale skipped, which happens on purpose: then 20 such steps on end are the trouble.
    """

    cause = "not_finite"
    needs = ({"loss", "supervised_loss", "finite"},)
    _skips = 20

    def __init__(self, sensitivity):
        self._skipped = 0

    def update(self, signals):
        """The finding of a step, or `None`."""
        record = signals.record
        found = [name for name, value in record.items() if not math.isfinite(value)]
        if not found and record.get("finite", 1) != 0:
            self._skipped = 0
            return None
        if not found:
            return Finding("finite", 0.0, "A value of the step was not finite.")
        of_gradient = {"gradient_norm", "clipped_gradient_norm", "update_ratio"}
        if record.get("finite") == 1 and of_gradient.issuperset(found):
            self._skipped += 1
            if self._skipped < self._skips:
                return None
        value = record[found[0]]
        # Once they are NaN, weights stay so.
        return Finding(found[0], value, f"{', '.join(f'`{name}`' for name in found)} became {value:.3g}.")


class LossSpike:
    """A loss that fell and then jumps, drifts back up, or leaves its start upwards.

    A jump: 6 of the last 8 values exceed 95 % of the 100 before, and their median lies above by a fifth of all that the
    loss ever fell (half of it where the rate rose of late), or is five times as high and at least 3 % of its start. A
    drift: the median of 25 steps is above its lowest by 35 % of the fall (70 % where the rate rose of late). Leaving:
    the loss is at three times its start and does not fall, or 2 of the last 8 values are at thirty times the first one.
    """

    cause = "loss_spike"
    needs = ({"loss", "supervised_loss"},)

    def __init__(self, sensitivity):
        self._jump = 0.2 / sensitivity
        self._factor = 1.0 + 4.0 / sensitivity
        self._drift = 0.35 / sensitivity
        self._leave = 2.0 / sensitivity
        self._flight = 1.0 + 29.0 / sensitivity

    def update(self, signals):
        """The finding of a step, or `None`."""
        loss = signals.loss
        if signals.loss_name not in signals.record or not loss.count:
            return None
        if loss.first > 0.0 and loss.recent.above(self._flight * loss.first) >= 2:
            return Finding(
                signals.loss_name,
                loss.recent.ordered[-1],
                f"`{signals.loss_name}` left its first value, {loss.first:.4g}, for {loss.recent.ordered[-1]:.4g}.",
            )
        if len(loss.reference) < 10:
            return None
        recent, reference, initial, fall = loss.recent, loss.reference, loss.initial, signals.fall
        level, before = recent.median, reference.median
        if level <= before:
            return None
        rose = signals.rate.rose
        exceeding = recent.above(reference.quantile(0.95))
        if exceeding >= _MOST:
            jump, noise = level - before, reference.spread
            fell = fall >= 0.05 * abs(initial) and len(reference) >= 25
            share = min(self._jump * 2.5, 0.9) if rose else self._jump
            if fell and jump >= max(share * fall, 2.0 * noise):
                return self._finding(signals, level, before, exceeding)
            if not rose and fell and 0 < before * self._factor <= level and level >= 0.03 * initial:
                return self._finding(signals, level, before, exceeding)
            values = list(recent.values)
            still = sum(values[4:]) >= 0.9 * sum(values[:4])
            if still and level - initial >= self._leave * max(abs(initial), 2.0 * loss.first_spread):
                return self._finding(signals, level, before, exceeding)
        if loss.count >= 50 and fall >= 0.2 * abs(initial):
            # The lowest of many noisy medians is low by chance, which matters where the loss fell little.
            noises = 0.75 if fall >= 0.5 * abs(initial) else 2.0
            middle, share = loss.middle.median, min(self._drift * (2.0 if rose else 1.0), 0.9)
            if (
                middle - loss.lowest >= max(share * fall, noises * loss.middle.spread)
                and level >= middle - share * fall
            ):
                return Finding(
                    signals.loss_name,
                    middle,
                    f"`{signals.loss_name}` is back up at {middle:.4g} (median of 25 steps), after {loss.lowest:.4g} "
                    f"at its lowest and {initial:.4g} at the start.",
                )
        return None

    def _finding(self, signals, level, before, exceeding):
        name = signals.loss_name
        return Finding(
            name,
            level,
            f"`{name}` rose from {before:.4g} (median of {len(signals.loss.reference)} steps) to {level:.4g} (of 8); "
            f"{exceeding} of these 8 exceed 95 % of the earlier values. It began at {signals.loss.initial:.4g}.",
        )


class Oscillation:
    """A loss that swings up and down and no longer falls, by a period of up to 24 steps, or ever more wildly.

    Periodic: in the last 40 steps, the ranks of the detrended loss correlate negatively half a period apart and
    positively a whole one apart, and the swings (from the 10 % quantile to the 90 % one) are a fifth of the loss at the
    start, and at least twice those before or, at a clear period, six tenths of the loss itself. Wild: the swings are
    four times those before and three tenths of the loss at the start. Looked at every 4 steps, and not in the 40 steps
    after a jump of the loss or the gradient, for wild ones 200.
    """

    cause = "oscillation"
    needs = ({"loss", "supervised_loss"},)
    _steps = 40
    _every = 4
    _periods = np.arange(2, 25)

    def __init__(self, sensitivity):
        self._window = Rolling(self._steps)
        self._spreads = Rolling(40)  # those of windows that ended 40 steps ago or earlier
        self._late = []
        self._medians = []
        self._count = 0
        self._found = None
        self._amplitude = 0.1 / sensitivity
        self._correlation = 0.55 / max(sensitivity, 0.6)
        time = np.arange(self._steps) - (self._steps - 1) / 2
        self._time = time / np.sqrt(time @ time)

    def update(self, signals):
        """The finding of a step, or `None`; what was found holds until it is looked for again."""
        value = signals.record.get(signals.loss_name)
        if value is None or not math.isfinite(value):
            return None
        self._window.push(value)
        self._count += 1
        if self._window.full and self._count % self._every == 0:
            self._found = self._look(signals)
        return self._found

    def _look(self, signals):
        window = self._window
        spread, median = window.quantile(0.9) - window.quantile(0.1), window.median
        self._late.append((spread, median))
        if len(self._late) > self._steps // self._every:
            old, old_median = self._late.pop(0)
            self._spreads.push(old)
            self._medians = [*self._medians[-9:], old_median]
        usual = self._spreads.median if len(self._spreads) >= 5 else None
        since = signals.since("loss_spike", "exploding_gradient")
        if since < self._steps:
            return None  # The window holds the jump.
        scale = max(abs(signals.loss.initial), signals.fall)
        if spread < 2.0 * self._amplitude * scale:
            return None
        if self._medians and median < 0.95 * min(self._medians):
            return None  # it still falls
        # The more the swings have grown, the less it takes to believe in a period; after a jump, noise has grown too.
        growth = spread / max(usual, 1e-30) if usual is not None else 0.0
        clear, jumped = spread >= 0.6 * abs(median), since <= 5 * self._steps
        least = self._correlation if growth >= 2.0 and (clear or not jumped) else 0.7 if clear else 1.0
        period, score = self._period()
        if score >= (least - 0.1 if growth >= 3.0 and not jumped else least):
            return Finding(
                signals.loss_name,
                spread,
                f"`{signals.loss_name}` swings by {spread:.4g} about {median:.4g} with a period of about {period} "
                f"steps, and does not fall. It began at {signals.loss.initial:.4g}.",
            )
        wild = growth >= 4.0 and len(self._spreads) >= 10 and not (signals.rate.rose or jumped)
        if wild and spread >= 3.0 * self._amplitude * scale:
            return Finding(
                signals.loss_name,
                spread,
                f"`{signals.loss_name}` swings by {spread:.4g} about {median:.4g} in the last {self._steps} steps, "
                f"where {usual:.4g} was usual, and does not fall.",
            )
        return None

    def _period(self):
        """The period by which the loss swings best, in steps, and how well: half of crest minus trough, at most 1."""
        ranks = np.argsort(np.argsort(self._window.values)) - (self._steps - 1) / 2
        ranks = ranks - (self._time @ ranks) * self._time
        products = np.correlate(ranks, ranks, "full")[self._steps - 1 :]
        if products[0] <= 0.0:
            return 0, 0.0
        correlation = products / (products[0] / self._steps * (self._steps - np.arange(self._steps)))
        periods = self._periods
        crest, trough = correlation[periods], 0.5 * (correlation[periods // 2] + correlation[(periods + 1) // 2])
        # Of a long period there are few pairs, and chance does more.
        score = np.where((trough < -0.25) & (crest > 0.3), 0.5 * (crest - trough) - 0.003 * periods, 0.0)
        best = int(np.argmax(score))
        return int(periods[best]), float(score[best])
