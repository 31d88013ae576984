"""Calibration: is a model right as often as it says."""

import numpy as np

from keras_consistency.evaluation.examples import class_numbers, read
from keras_consistency.evaluation.network import Network
from keras_consistency.parts import check_count


def calibration(model, data, *, prediction=None, from_logits=True, bins=15, batch_size=128):
    """The reliability table of a model: how often it is right, by how sure it is.

    The examples are sorted into bins of equal width by their confidence, the probability of the predicted class. The
    expected calibration error, `ece` of `kc.evaluation.robustness`, is the mean of `|accuracy - confidence|` over the
    rows, weighted by `examples`.

    Args:
        model: built `keras.Model` that returns `(examples, classes)`; of a `kc.ConsistencyModel`, the network that it
            evaluates is read.
        data: arrays `(x, y)`, or a `tf.data.Dataset` of batches of such; `y` are class numbers `(examples,)` or
            probabilities `(examples, classes)`.
        prediction: where the model returns a dictionary, the name of the output to read.
        from_logits: whether the model returns logits rather than probabilities.
        bins: number of bins, at least 1.
        batch_size: of arrays.

    Returns:
        A list of dictionaries, one a bin: `"low"` and `"high"`, its limits (the upper one belongs to it); `"examples"`,
        their number; `"confidence"` and `"accuracy"`, their means, `None` in an empty bin.

    Raises:
        TypeError, ValueError: for data without labels or examples, labels that are no classes of the model, a model
            that returns no scores of at least two classes, and arguments outside their range.

    References:
        - C. Guo et al., [On calibration of modern neural networks](https://arxiv.org/abs/1706.04599), 2017, section 2.
    """
    tally = Tally(bins)
    examples = read(data, batch_size)
    network = Network(model, prediction=prediction, from_logits=from_logits, spec=examples.spec)
    for x, y in examples.batches():
        probabilities = network.predict(x)
        tally.add(probabilities, class_numbers(y, probabilities.shape[1]))
    return tally.table()


class Tally:
    """Counts of what a model predicted, over batches of any length.

    Args:
        bins: of confidence, at least 1.
    """

    def __init__(self, bins):
        check_count("bins", bins)
        self.examples = np.zeros(bins, "int64")
        self.confidence = np.zeros(bins)
        self.right = np.zeros(bins)
        self.unchanged = 0

    def add(self, probabilities, labels, clean=None):
        """Counts a batch.

        Args:
            probabilities: NumPy `(examples, classes)`.
            labels: class numbers `(examples,)`.
            clean: the classes predicted on the unperturbed examples; `None` for those of `probabilities`.
        """
        classes, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1).astype("float64")
        bins = len(self.examples)
        # Guo et al. leave the lower limit of a bin out; a confidence of 0 does not occur.
        rows = np.clip(np.ceil(confidence * bins).astype("int64") - 1, 0, bins - 1)
        self.examples += np.bincount(rows, minlength=bins)
        self.confidence += np.bincount(rows, confidence, minlength=bins)
        self.right += np.bincount(rows, classes == labels, minlength=bins)
        self.unchanged += len(classes) if clean is None else int((classes == clean).sum())

    def record(self):
        """Accuracy, consistency, expected calibration error (Guo et al., equation 3) and number of examples."""
        total = int(self.examples.sum())
        if not total:
            raise ValueError("`data` must hold at least one example. Received: none")
        return {
            "accuracy": float(self.right.sum() / total),
            "consistency": self.unchanged / total,
            "ece": float(np.abs(self.right - self.confidence).sum() / total),
            "examples": total,
        }

    def table(self):
        """The rows that `calibration` returns."""
        bins = len(self.examples)
        return [
            {
                "low": row / bins,
                "high": (row + 1) / bins,
                "examples": int(count),
                "confidence": float(self.confidence[row] / count) if count else None,
                "accuracy": float(self.right[row] / count) if count else None,
            }
            for row, count in enumerate(self.examples)
        ]
