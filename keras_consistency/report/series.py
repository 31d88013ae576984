"""A curve of any length in constant memory."""

import math

from keras_consistency.parts import check_count


class Series:
    """Values by step, as means of equally long runs of steps with their extremes.

    Once there are twice as many runs as asked for, neighbours are merged, so that a run is 1, 2, 4, ... values long.
    Values that are not finite are left out of these; the first hundred steps of such are kept.

    Args:
        points: number of runs to keep at the least, once there are so many values.

    Attributes:
        not_finite: list of the steps, the first hundred, whose values were not finite.
    """

    def __init__(self, points=250):
        check_count("points", points)
        self.points = points
        self.not_finite = []
        self._length = 1  # values a run
        self._runs = []  # [last step, sum, count, least, greatest]

    def add(self, step, value):
        """Adds the value of a step, which comes after the last."""
        if not math.isfinite(value):
            if len(self.not_finite) < 100:
                self.not_finite.append(step)
            return
        if self._runs and self._runs[-1][2] < self._length:
            run = self._runs[-1]
            self._runs[-1] = [step, run[1] + value, run[2] + 1, min(run[3], value), max(run[4], value)]
            return
        self._runs.append([step, value, 1, value, value])
        if len(self._runs) > 2 * self.points:
            # An odd number of runs: the last, which has just begun, stays alone.
            pairs = zip(self._runs[:-1:2], self._runs[1::2], strict=True)
            merged = [[b[0], a[1] + b[1], a[2] + b[2], min(a[3], b[3]), max(a[4], b[4])] for a, b in pairs]
            self._runs = [*merged, self._runs[-1]]
            self._length *= 2

    def __len__(self):
        return len(self._runs)

    def curve(self):
        """Four lists of one length: the last steps of the runs, their means, least and greatest values."""
        rows = [(step, total / count, least, most) for step, total, count, least, most in self._runs]
        return [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], [], []]
