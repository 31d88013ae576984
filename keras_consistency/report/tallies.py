"""Counts of answers that were right, and how they are shown."""

import dataclasses

import numpy as np

from keras_consistency.evaluation.calibration import Tally
from keras_consistency.report import charts, page

_MOST_CLASSES = 40  # in a matrix that can be read
_MOST_POINTS = 500


class Classes:
    """Counts of classes that were predicted.

    Args:
        classes: number of them.
        threshold: confidence from which a prediction counts as sure.

    Attributes:
        matrix, sure: int64 `(true class, predicted class)`, the counts of all predictions and of the sure ones.
    """

    def __init__(self, classes, threshold):
        self.threshold = threshold
        self.matrix = np.zeros([classes, classes], "int64")
        self.sure = np.zeros([classes, classes], "int64")
        self.tally = Tally(15)

    def add(self, probabilities, labels):
        """Counts rows of probabilities `(rows, classes)` and class numbers `(rows,)`."""
        predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1) >= self.threshold
        np.add.at(self.matrix, (labels, predicted), 1)
        np.add.at(self.sure, (labels[sure], predicted[sure]), 1)
        self.tally.add(probabilities, labels)

    @property
    def accuracy(self):
        """The share of right predictions."""
        return float(np.trace(self.matrix) / self.matrix.sum())

    def validation(self, names):
        """The confusion matrix and the calibration, HTML."""
        record = self.tally.record()
        bins = [(row["confidence"], row["accuracy"], row["examples"]) for row in self.tally.table() if row["examples"]]
        curve = page.figure("Calibration", charts.calibration(bins, record["ece"]), small=True)
        names = _names(names, len(self.matrix))
        if len(names) <= _MOST_CLASSES:
            return page.grid([page.figure("Confusion matrix", charts.confusion(self.matrix, names), small=True), curve])
        wrong = self.matrix - np.diag(np.diag(self.matrix))
        most = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CLASSES]
        pairs = [np.unravel_index(place, wrong.shape) for place in most if wrong.flat[place]]
        rows = [(names[true], names[found], int(wrong[true, found])) for true, found in pairs]
        return page.table(("Class", "Taken for", "Examples"), rows, numbers=(2,)) + page.grid([curve])

    def pseudo_labels(self, names):
        """The quality of the sure predictions for each class, an HTML table."""
        own, given, right = self.matrix.sum(axis=1), self.sure.sum(axis=0), np.diag(self.sure)
        counts = [*zip(_names(names, len(own)), own, given, right, strict=True)]
        counts.append(("all", own.sum(), given.sum(), right.sum()))
        rows = [
            (name, int(own), int(given), _percent(right, given), _percent(right, own))
            for name, own, given, right in counts
        ]
        confidence = f"Named with at least {self.threshold:g}"
        header = ("Class", "Examples", confidence, "Of these right", "Of the class found")
        return page.table(header, rows, numbers=(1, 2, 3, 4))

    def shares(self):
        """The share of sure predictions, and how many of these are right (NaN of none)."""
        sure = self.sure.sum()
        return float(sure / self.matrix.sum()), float(np.trace(self.sure) / sure) if sure else float("nan")


@dataclasses.dataclass
class Values:
    """Errors of numbers that were predicted, and the first of them."""

    count: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    points: tuple = ()

    def add(self, answers, labels):
        """Counts arrays of one shape."""
        answers, labels = answers.ravel(), labels.ravel()
        self.count += len(labels)
        self.absolute += float(np.abs(answers - labels).sum())
        self.squared += float(np.square(answers - labels).sum())
        before = self.points or (labels[:0], answers[:0])
        self.points = tuple(np.concatenate(pair)[:_MOST_POINTS] for pair in zip(before, (labels, answers), strict=True))

    def errors(self):
        """The mean absolute error and the root of the mean squared one."""
        return self.absolute / self.count, float(np.sqrt(self.squared / self.count))

    def validation(self, names):
        """Answers over labels, HTML."""
        return page.grid([page.figure("Answers over labels", charts.scatter(*self.points), small=True)])


def _names(names, classes):
    names = names or []
    return [names[number] if number < len(names) else str(number) for number in range(classes)]


def _percent(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "–"
