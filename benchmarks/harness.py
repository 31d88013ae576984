"""What the benchmarks share: images held out to tune on, and runs that are kept so as not to be run again."""

import json
import pathlib

import numpy as np
from absl import app

import keras_consistency as kc


def split(train_data, test_data, *, hold_out):
    """Training data and the data to measure on: test data, or so many training images, taken out of the training."""
    if not hold_out:
        return train_data, test_data
    x, y = train_data
    held = kc.datasets.labeled_indices(y, hold_out // (int(y.max()) + 1), seed=10**6)
    rest = np.setdiff1d(np.arange(len(x)), held)
    return (x[rest], y[rest]), (x[held], y[held])


class Finished:
    """The finished runs of one budget, by row and seed, and the file that keeps them.

    Args:
        path: of the file; made where there is none.
        budget: dictionary of all that runs have in common.

    Raises:
        app.UsageError: where the file holds runs with another budget.
    """

    def __init__(self, path, budget):
        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = json.loads(self.path.read_text()) if self.path.exists() else {"budget": budget, "runs": {}}
        if self._file["budget"] != budget:
            raise app.UsageError(
                f"--results names a file of runs with another budget: name another file. Received: {self.path} with "
                f"{self._file['budget']}, not {budget}"
            )
        self.runs = self._file["runs"]

    def add(self, row, seed, result):
        """Keeps a run."""
        self.runs.setdefault(row, {})[seed] = result
        self.path.write_text(json.dumps(self._file, indent=1) + "\n")
