"""Robust statistics of a signal, value by value, in constant memory."""

import bisect
import collections


class Rolling:
    """The last values of a signal, kept in order too, so that a quantile is a look-up.

    Args:
        size: how many values to keep.
    """

    __slots__ = ("ordered", "size", "values")

    def __init__(self, size):
        self.size = size
        self.values = collections.deque()
        self.ordered = []

    def __len__(self):
        return len(self.ordered)

    @property
    def full(self):
        return len(self.ordered) == self.size

    def push(self, value):
        """Takes a finite value; returns the one that it pushes out, `None` while there is room."""
        values, ordered = self.values, self.ordered
        values.append(value)
        bisect.insort(ordered, value)
        if len(ordered) <= self.size:
            return None
        old = values.popleft()
        del ordered[bisect.bisect_left(ordered, old)]
        return old

    @property
    def median(self):
        """The median; there must be a value."""
        middle, odd = divmod(len(self.ordered), 2)
        return self.ordered[middle] if odd else 0.5 * (self.ordered[middle - 1] + self.ordered[middle])

    def quantile(self, share):
        """The value that `share` of the others lie below, the nearest one; there must be a value."""
        return self.ordered[round(share * (len(self.ordered) - 1))]

    @property
    def spread(self):
        """Difference of the quartiles."""
        return self.quantile(0.75) - self.quantile(0.25)

    def above(self, threshold):
        """How many values exceed a threshold."""
        return len(self.ordered) - bisect.bisect_right(self.ordered, threshold)

    def below(self, threshold):
        """How many values are less than a threshold."""
        return bisect.bisect_left(self.ordered, threshold)


class Track:
    """A signal as detectors see it: the last few values beside the reference, those that came before.

    The recent values are not part of the reference, so that a jump stands out until it has become the rule.

    Args:
        recent: number of recent values.
        reference: number of values in the reference.
        initial: number of first values whose median is the level at the start.

    Attributes:
        count: number of values seen.
        first: the first value, `initial` the median of the first ones; `None` before there is one.
        lowest, highest: extremes of the median of 25 values in turn, so far; `None` before there are 25.
    """

    def __init__(self, *, recent=8, reference=100, initial=10):
        self.recent = Rolling(recent)
        self.reference = Rolling(reference)
        self.middle = Rolling(25)
        self.count = 0
        self.first = None
        self.initial = None
        self.lowest = None
        self.highest = None
        self._first = Rolling(initial)

    def push(self, value):
        """Takes a finite value."""
        self.count += 1
        if self.first is None:
            self.first = value
        if not self._first.full:
            self._first.push(value)
            self.initial = self._first.median
        old = self.recent.push(value)
        if old is not None:
            self.reference.push(old)
        self.middle.push(value)
        if self.middle.full:
            median = self.middle.median
            if self.lowest is None:
                self.lowest = self.highest = median
            elif median < self.lowest:
                self.lowest = median
            elif median > self.highest:
                self.highest = median

    @property
    def level(self):
        """Median of the recent values; there must be a value."""
        return self.recent.median

    @property
    def first_spread(self):
        """Difference of the quartiles of the first values."""
        return self._first.spread


class Blocks:
    """The whole course of a signal as at most 64 levels, of ever more steps each.

    A level is the mean of medians of 25 values; when there are 64, each two become one.
    """

    steps_of_a_median = 25
    most = 64

    def __init__(self):
        self.levels = []
        self.steps = self.steps_of_a_median
        self._values = []
        self._medians = []

    def push(self, value):
        """Takes a finite value; returns whether that completed a level."""
        self._values.append(value)
        if len(self._values) < self.steps_of_a_median:
            return False
        self._medians.append(sorted(self._values)[self.steps_of_a_median // 2])
        self._values.clear()
        if len(self._medians) * self.steps_of_a_median < self.steps:
            return False
        self.levels.append(sum(self._medians) / len(self._medians))
        self._medians.clear()
        if len(self.levels) == self.most:
            self.levels = [0.5 * (a + b) for a, b in zip(self.levels[::2], self.levels[1::2], strict=True)]
            self.steps *= 2
        return True
