"""What is usual in a training, and what a watched step may have at the most."""

import math
import statistics

_LAST = 200  # steps whose median is what is usual
_LEAST = 20  # steps to know what is usual from


class Limits:
    """Sets the limits of a watch to multiples of what is usual.

    Args:
        watch: a `watch.Watch`.
        above: how many times the median of the last 200 steps a step may have at the most, a float above 1.

    Attributes:
        usual: dictionary from the limited signals to lists of their values in the last steps that were not left out.
            Copy it to know later what was usual; assigning to it sets the limits accordingly.
    """

    def __init__(self, watch, above):
        self._variables = watch.limits
        self._above = above
        self.forget()

    @property
    def usual(self):
        """Values of the last steps by signal."""
        return self._usual

    @usual.setter
    def usual(self, values):
        self._usual = {name: list(values[name]) for name in self._variables}
        for name, variable in self._variables.items():
            known = self._usual[name]
            variable.assign(self._above * statistics.median(known) if len(known) >= _LEAST else math.inf)

    def forget(self):
        """Has no limits until what is usual is known anew."""
        self.usual = {name: [] for name in self._variables}

    def learn(self, records):
        """Takes the records of steps that were not left out, and moves the limits."""
        if self._variables and records:
            found = {name: [record[name] for record in records] for name in self._variables}
            self.usual = {
                name: [*self._usual[name], *filter(math.isfinite, values)][-_LAST:] for name, values in found.items()
            }

    def exceeded(self, record):
        """Which limit a step exceeds most: the name of the signal, and what is usual, infinity if not known.

        Args:
            record: that of a step that was left out.
        """
        usual = {name: statistics.median(values) if values else math.inf for name, values in self._usual.items()}
        # Batch statistics that no longer move are usual at 0.
        name = max(usual, key=lambda each: record[each] / max(usual[each], 1e-30))
        return name, usual[name]
