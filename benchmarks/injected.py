"""Ten trainings that are fed broken batches, with `kc.callbacks.StabilityMonitor` and without.

    python -m benchmarks.injected

Supervised training and FixMatch on the digits, with batch normalization and without; at five random steps the batch is
NaN, or its images or example weights are a million times too large. Two more trainings have a learning rate that is a
thousand times too high for one step, after which all weights are bad, and no batch. Each runs undisturbed, disturbed
without a monitor, and disturbed with one that skips or rolls back. Accuracies are those of the teacher on the test
images, at the end; all runs of a training have the same weights at first and the same batches.
"""

import functools
import json
import os
import pathlib
import time

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import keras_consistency as kc  # noqa: E402

STEPS = flags.DEFINE_integer("steps", 400, "Steps of a training, a multiple of 20.", lower_bound=100)
SPOILT = flags.DEFINE_integer("spoilt", 5, "How many of them get a broken batch.", lower_bound=1)
BATCH = flags.DEFINE_integer("batch", 64, "Labelled images a step, and unlabelled ones.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of weights, batches and disturbed steps.")
RESULTS = flags.DEFINE_string("results", None, "JSON file to write, or none.")

FIRST = 40  # no step before is disturbed: the monitor has to have seen what is usual
EPOCH = 20  # steps
# Algorithm, batch normalization, what is broken.
RUNS = [
    ("supervised", True, "images NaN"),
    ("supervised", True, "images x 1e6"),
    ("supervised", True, "weights x 1e6"),
    ("supervised", False, "images NaN"),
    ("supervised", False, "images x 1e6"),
    ("supervised", False, "weights x 1e6"),
    ("fixmatch", True, "images NaN"),
    ("fixmatch", True, "images x 1e6"),
    ("fixmatch", False, "images NaN"),
    ("fixmatch", False, "images x 1e6"),
    ("supervised", False, "rate x 1e3"),
    ("fixmatch", True, "rate x 1e3"),
]


class Spikes(keras.callbacks.Callback):
    """Multiplies the learning rate for single steps.

    Args:
        rate: the `kc.callbacks.LearningRate` of the training.
        steps: numbers of these steps, from 0.
        factor: what by.
    """

    def __init__(self, rate, steps, factor):
        super().__init__()
        self.rate = rate
        self.steps = set(steps)
        self.factor = factor
        self.step = -1

    def on_train_batch_begin(self, batch, logs=None):
        self.step += 1
        if self.step in self.steps:
            self.rate.factor *= self.factor

    def on_train_batch_end(self, batch, logs=None):
        if self.step in self.steps:
            self.rate.factor /= self.factor


def build(algorithm, normalized):
    """The model, and the learning rate that suits it."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(64)]
    layers += [keras.layers.BatchNormalization()] if normalized else []
    student = keras.Sequential(
        [keras.Input((8, 8, 1)), *layers, keras.layers.Activation("relu"), keras.layers.Dense(10)]
    )
    if algorithm == "supervised":
        teacher = kc.teachers.EMA(decay=0.98, targets_from="student")
        return kc.ConsistencyModel(student, [], teacher=teacher, seed=0)
    views = {"weak": keras.layers.GaussianNoise(0.05, seed=1), "strong": keras.layers.GaussianNoise(0.2, seed=2)}
    return kc.recipes.fixmatch(student, **views, ema=0.98, seed=0)


@functools.cache
def digits():
    """Training and test images with values in [0, 1], and their classes."""
    return tuple(((x / 255.0).astype("float32"), y) for x, y in kc.datasets.load("digits"))


def batches(algorithm, kind, steps):
    """Batches of the whole training, the given steps broken."""
    (x, y), _ = digits()
    rng = np.random.default_rng(SEED.value)
    labeled = rng.choice(len(x), (STEPS.value, BATCH.value))
    images, labels = x[labeled], y[labeled]
    unlabeled = x[rng.choice(len(x), labeled.shape)]
    weights = np.ones(labeled.shape, "float32")
    factor = {"images NaN": np.nan, "images x 1e6": 1e6}.get(kind, 1.0)
    images[steps] *= factor
    unlabeled[steps] *= factor
    weights[steps] *= 1e6 if kind == "weights x 1e6" else 1.0
    inputs = images if algorithm == "supervised" else {"labeled": images, "unlabeled": unlabeled}
    return tf.data.Dataset.from_tensor_slices((inputs, labels, weights))


def train(algorithm, normalized, kind=None, react=None):
    """Trains, disturbed if a kind is given, watched if a reaction is; what became of it."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(SEED.value)
    rng = np.random.default_rng([SEED.value, *f"{algorithm}{normalized}{kind}".encode()])
    count = 0 if kind is None else 1 if kind == "rate x 1e3" else SPOILT.value
    steps = np.sort(rng.choice(np.arange(FIRST, STEPS.value - EPOCH), count, replace=False))
    model = build(algorithm, normalized)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=loss, metrics=["accuracy"])
    rate = kc.callbacks.LearningRate(kc.schedules.PartialCosine(value=0.1, steps=STEPS.value))
    monitor = None if react is None else kc.callbacks.StabilityMonitor(react=react, verbose=0, snapshot_every=50)
    callbacks = [rate] if monitor is None else [rate, monitor]
    if kind == "rate x 1e3":
        callbacks.append(Spikes(rate, steps.tolist(), 1e3))
    error = None
    try:
        data = batches(algorithm, kind, steps).repeat()
        epochs = STEPS.value // EPOCH
        model.fit(data, steps_per_epoch=EPOCH, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks)
    except (ValueError, tf.errors.InvalidArgumentError) as stopped:
        error = str(stopped).splitlines()[0]
    x, y = digits()[1]
    teacher = model.teacher.network
    logits = np.asarray(teacher(x, training=False))
    return {
        "finite": all(np.isfinite(weight).all() for weight in teacher.get_weights()),
        "accuracy": float(np.mean(logits.argmax(axis=1) == y)),
        "error": error,
        "spoilt": [int(step) + 1 for step in steps],
        "events": [] if monitor is None else [[e["step"], e["cause"], e["actions"]] for e in monitor.events],
    }


def cell(found):
    """A run's outcome in a table."""
    text = f"{100 * found['accuracy']:.1f}"
    return f"{text} (error)" if found["error"] else text if found["finite"] else "NaN"


def main(argv):
    """Trains all, and prints accuracies in percent."""
    del argv
    table, undisturbed, kept = [], {}, True
    print(f"{'training':12}{'norm':6}{'broken':16}{'undisturbed':>12}{'alone':>14}{'skip':>8}{'roll back':>11}")
    for algorithm, normalized, kind in RUNS:
        key = (algorithm, normalized)
        if key not in undisturbed:
            undisturbed[key] = train(*key)
        found = {react or "alone": train(*key, kind, react) for react in (None, "skip", "roll_back")}
        table.append(
            {"algorithm": algorithm, "batch_norm": normalized, "broken": kind, "undisturbed": undisturbed[key]}
        )
        table[-1] |= found
        print(
            f"{algorithm:12}{'batch' if normalized else '':6}{kind:16}{cell(undisturbed[key]):>12}"
            f"{cell(found['alone']):>14}{cell(found['skip']):>8}{cell(found['roll_back']):>11}",
            flush=True,
        )
        for name in ("roll_back",) if kind.startswith("rate") else ("skip", "roll_back"):
            apart = abs(found[name]["accuracy"] - undisturbed[key]["accuracy"])
            kept &= found[name]["finite"] and not found[name]["error"] and apart <= 0.01
    print(f"Finite and within 1 point with the monitor, a rate that is too high with rolling back: {kept}")
    if RESULTS.value:
        written = {"time": time.strftime("%Y-%m-%d"), "steps": STEPS.value, "seed": SEED.value, "runs": table}
        pathlib.Path(RESULTS.value).write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
