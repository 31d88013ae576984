"""What watching, clipping and reporting cost, in steps of the same training without them.

    python -m benchmarks.stability_cost

FixMatch with views that are the identity, so that the step is as short as it gets. A row is a set of callbacks; beside
it, the same model without any trains in turns, in one process. Whole epochs are timed but for their first step: what
callbacks do at the end of an epoch counts, the last page of a report, at the end of training, does not. Printed are
medians of the CPU time of all cores, which other work on the machine hardly changes, and of the paired ratios;
"itself" is the model beside itself, which shows how far to trust them.
"""

import concurrent.futures
import json
import os
import pathlib
import statistics
import tempfile
import threading
import time

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras  # noqa: E402
import numpy as np  # noqa: E402

import keras_consistency as kc  # noqa: E402
from benchmarks.step_time import compiled, repeated  # noqa: E402
from examples.train_image import build_student  # noqa: E402

LABELED = flags.DEFINE_integer("labeled", 32, "Labelled images a step.", lower_bound=1)
UNLABELED = flags.DEFINE_integer("unlabeled", 96, "Unlabelled images a step.", lower_bound=1)
STEPS_PER_TURN = flags.DEFINE_integer("steps_per_turn", 40, "Steps timed at once.", lower_bound=2)
TURNS = flags.DEFINE_integer("turns", 15, "Turns of each model, after one to warm up.", lower_bound=1)
RESULTS = flags.DEFINE_string("results", None, "JSON file to write, or none.")
SHAPE, CLASSES = (28, 28, 1), 10


class Turns(keras.callbacks.Callback):
    """Has two trainings take turns, an epoch each, and times theirs.

    Args:
        own, other: semaphores: whose turn it is.
    """

    def __init__(self, own, other):
        super().__init__()
        self.own = own
        self.other = other
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.own.acquire()

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1:  # The first step of all is traced.
            self._began = time.process_time()
        self._last = batch

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append((time.process_time() - self._began) / self._last)
        self.other.release()


def in_turns(sides, data, epochs):
    """Trains two models, an epoch in turn; returns seconds of a step by model and epoch, without the first epoch.

    Args:
        sides: two tuples of a compiled model and its callbacks.
        data: batches of an epoch.
        epochs: how many to time.
    """
    first, second = threading.Semaphore(1), threading.Semaphore(0)
    clocks = [Turns(first, second), Turns(second, first)]

    def train(side, clock):
        model, callbacks = side
        try:
            # The clock comes last: what the others do at the end of an epoch counts.
            model.fit(data, epochs=epochs + 1, verbose=0, shuffle=False, callbacks=[*callbacks, clock])
        finally:
            clock.other.release(epochs + 1)  # Where this one fails, the other does not wait for it.

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(train, side, clock) for side, clock in zip(sides, clocks, strict=True)]:
            done.result()
    return [clock.seconds[1:] for clock in clocks]


def rows(folder):
    """Row -> callbacks."""

    def monitor(**options):
        return kc.callbacks.StabilityMonitor(verbose=0, **options)

    skipping = monitor(react="skip")
    page = kc.callbacks.TrainingReport(folder / "report.html", monitor=skipping)
    return {
        "itself": [],
        "monitor": [monitor()],
        "monitor that skips": [monitor(react="skip")],
        "monitor that rolls back": [monitor(react="roll_back")],
        "clipping": [kc.callbacks.GradientClipping(global_clipnorm=10.0)],
        "monitor that skips, clipping, report": [skipping, kc.callbacks.GradientClipping(global_clipnorm=10.0), page],
    }


def main(argv):
    """Measures each row beside the same model without callbacks."""
    del argv
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (LABELED.value, *SHAPE)).astype("float32")
    u = rng.uniform(0, 255, (UNLABELED.value, *SHAPE)).astype("float32")
    data = repeated(({"labeled": x, "unlabeled": u}, rng.integers(0, CLASSES, LABELED.value)), STEPS_PER_TURN.value)

    def model():
        views = {"weak": keras.layers.Identity(), "strong": keras.layers.Identity()}
        return compiled(kc.recipes.fixmatch(build_student(SHAPE, CLASSES), **views))

    table = {}
    print(f"{'':38}{'step ms':>9}{'plain ms':>9}{'ratio':>8}{'quartiles':>16}")
    with tempfile.TemporaryDirectory() as folder:
        for name, callbacks in rows(pathlib.Path(folder)).items():
            mine, plain = in_turns([(model(), callbacks), (model(), [])], data, TURNS.value)
            low, ratio, high = statistics.quantiles([a / b for a, b in zip(mine, plain, strict=True)], n=4)
            mine, plain = (1e3 * statistics.median(column) for column in (mine, plain))
            table[name] = {"step_ms": mine, "plain_ms": plain, "ratio": ratio, "quartiles": [low, high]}
            print(f"{name:38}{mine:>9.2f}{plain:>9.2f}{ratio:>8.3f}{low:>8.3f}{high:>8.3f}", flush=True)
    if RESULTS.value:
        written = {"time": time.strftime("%Y-%m-%d"), "turns": TURNS.value, "steps": STEPS_PER_TURN.value}
        written |= {"images": [LABELED.value, UNLABELED.value], "rows": table}
        pathlib.Path(RESULTS.value).write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
