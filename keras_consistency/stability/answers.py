"""Detectors that read what the networks answer: the teacher diverges, the answers collapse to one class."""

import math

from keras_consistency.stability.event import Finding
from keras_consistency.stability.windows import Rolling

_MOST = 6  # of the 8 recent values have to agree


class TeacherDivergence:
    """A teacher and a student that part: they agree less and less, or their weights move away from each other.

    Agreement: after 150 steps, 6 of the last 8 values lie under 95 % of the 100 before, which had a median of at least
    0.5, their median lies under it by 0.25 (0.4 where the rate rose of late), or by 0.4 under the best level since the
    network has learned something; and the loss does not fall, which would be a student that runs ahead.

    Weights: a moving average follows, so that its distance cannot grow by more than the student moves. It is found
    where the distance grows in two times 10 steps on end by a fifth more than the updates add up to, or in one of them
    by twice as much, and by a fifth in all; without `update_ratio`, where it grows by four times what it ever grew in
    most of such times, and by half in all. It is also found where it is over 0.5 and three times its median before,
    while the loss does not fall.
    """

    cause = "teacher_divergence"
    needs = ({"agreement", "teacher_distance"},)
    _every = 10

    def __init__(self, sensitivity):
        self._drop = 0.25 / sensitivity
        self._fast = 1.0 + 0.2 / sensitivity
        self._best = {}
        self._growths = Rolling(30)
        self._late = []
        self._path = 0.0
        self._start = None
        self._steps = 0
        self._found = None

    def update(self, signals):
        """The finding of a step, or `None`."""
        for name, track in signals.agreements.items():
            if name in signals.record and track.count >= 150:
                found = self._agreement(name, track, signals)
                if found is not None:
                    return found
        if "teacher_distance" in signals.record and signals.distance.count:
            return self._distance(signals)
        return None

    def _agreement(self, name, track, signals):
        level, usual = track.level, track.reference.median
        if signals.learned and track.count % 10 == 0:
            self._best[name] = max(usual, self._best.get(name, 0.0))
        if level > usual - 0.5 * self._drop or signals.falling:
            return None
        best = self._best.get(name, 0.0)
        wanted = self._drop * (1.6 if signals.rate.rose else 1.0)
        below = track.recent.below(track.reference.quantile(0.05)) >= _MOST
        sudden = below and usual >= 0.5 and usual - level >= max(wanted, 2.0 * track.reference.spread)
        if not sudden and (best - level < 1.6 * wanted or best < 0.5):
            return None
        before = usual if sudden else best
        return Finding(
            name,
            level,
            f"Student and teacher name the same class for {level:.0%} of the examples (`{name}`, median of 8 steps), "
            f"where it was {before:.0%}, and `{signals.loss_name}` does not fall.",
        )

    def _distance(self, signals):
        distance, record = signals.distance, signals.record
        self._path += record.get("update_ratio", math.nan)
        self._steps += 1
        if self._steps % self._every:
            return self._found
        now, self._found = distance.recent.values[-1], None
        if self._start is not None and distance.count >= 60:
            growth, measured = now - self._start, 0.0 < self._path < math.inf
            self._late.append((growth, growth / self._path if measured else 0.0, self._start))
            if len(self._late) > 2:
                self._growths.push(abs(self._late.pop(0)[0]))
            if len(self._late) == 2:
                self._found = self._parted(now, measured, signals)
        self._start, self._path = now, 0.0
        return self._found

    def _parted(self, now, measured, signals):
        distance, start = signals.distance, self._late[0][2]
        evidence = f"The teacher is {now:.3g} of the student's norm away from it, where it was {start:.3g} 20 steps ago"
        ratios = [ratio for _, ratio, _ in self._late]
        if measured and (min(ratios) >= self._fast or max(ratios) >= 2.0 * self._fast) and now >= 1.2 * start:
            return Finding("teacher_distance", now, f"{evidence}: more than the student moved.")
        if not measured and len(self._growths) >= 10 and not signals.rate.rose and now >= 1.5 * start:
            usual = self._growths.quantile(0.9)
            if all(growth >= 4.0 * usual for growth, _, _ in self._late):
                return Finding("teacher_distance", now, f"{evidence}: four times as fast as ever.")
        usual = distance.reference.median
        # A teacher that starts from the student is at no distance at first: what is usual has to have come about.
        if distance.reference.full and distance.level >= max(0.5, 3.0 * usual) and not signals.falling:
            return Finding("teacher_distance", now, f"{evidence}, and {usual:.3g} was usual.")
        return None


class Collapse:
    """Answers that are nearly all of one class, after they were not, or ever since the start.

    After: the median of the last 8 shares is at least 0.9, 7 of them lie beyond 60 % of the way from the lowest level
    since the network has learned something to 1, and that level was at most 0.7, so that data of mostly one class are
    no collapse. Since the start: after 150 steps, 90 % of the 100 shares before the last 8 are at least 0.95, and the
    loss has not fallen by a twentieth, nor does the learning rate rise.
    """

    cause = "collapse"
    needs = ({"top_class_share"},)

    def __init__(self, sensitivity):
        self._way = min(0.6 / sensitivity, 0.9)
        self._lowest = None

    def update(self, signals):
        """The finding of a step, or `None`."""
        share, loss = signals.share, signals.loss
        if "top_class_share" not in signals.record or not share.middle.full:
            return None
        if signals.learned:
            level = share.middle.median
            self._lowest = level if self._lowest is None else min(self._lowest, level)
        level = share.level
        if level < 0.9:
            return None
        lowest = self._lowest
        if lowest is not None and lowest <= 0.7:
            if share.recent.above(lowest + self._way * (1.0 - lowest)) > _MOST:
                return Finding(
                    "top_class_share",
                    level,
                    f"{level:.0%} of the answers are of one class (median of 8 steps), where it was {lowest:.0%}.",
                )
        elif share.count >= 150 and share.reference.quantile(0.1) >= 0.95 and not signals.rate.rising:
            if loss.initial is not None and loss.level >= loss.initial - 0.05 * abs(loss.initial):
                return Finding(
                    "top_class_share",
                    level,
                    f"{level:.0%} of the answers are of one class, as they have been for 100 steps, and "
                    f"`{signals.loss_name}` is {loss.level:.4g}, after {loss.initial:.4g} at the start.",
                )
        return None
